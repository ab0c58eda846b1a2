"""From source trees to corpus shards, from shards to token files, from token files to fixed blocks."""
