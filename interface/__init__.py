"""What people and disks see of a command: flags, atomic files, progress, the report page. No numbers are made here."""
