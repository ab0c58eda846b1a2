"""Programming languages by file extension."""

from __future__ import annotations

from pathlib import PurePath

# extension -> (name as GitHub spells it, MIME type as in Code Clippy's meta)
LANGUAGES = {
    ".py": ("Python", "text/x-python"),
    ".pyi": ("Python", "text/x-python"),
    ".c": ("C", "text/x-c"),
    ".h": ("C", "text/x-c"),
    ".cc": ("C++", "text/x-c++"),
    ".cpp": ("C++", "text/x-c++"),
    ".cxx": ("C++", "text/x-c++"),
    ".hpp": ("C++", "text/x-c++"),
    ".cs": ("C#", "text/x-csharp"),
    ".go": ("Go", "text/x-go"),
    ".java": ("Java", "text/x-java"),
    ".js": ("JavaScript", "text/javascript"),
    ".jsx": ("JavaScript", "text/javascript"),
    ".mjs": ("JavaScript", "text/javascript"),
    ".ts": ("TypeScript", "text/typescript"),
    ".tsx": ("TypeScript", "text/typescript"),
    ".kt": ("Kotlin", "text/x-kotlin"),
    ".lua": ("Lua", "text/x-lua"),
    ".php": ("PHP", "text/x-php"),
    ".pl": ("Perl", "text/x-perl"),
    ".r": ("R", "text/x-r"),
    ".rb": ("Ruby", "text/x-ruby"),
    ".rs": ("Rust", "text/x-rust"),
    ".scala": ("Scala", "text/x-scala"),
    ".sh": ("Shell", "text/x-shellscript"),
    ".sql": ("SQL", "text/x-sql"),
    ".swift": ("Swift", "text/x-swift"),
    ".jl": ("Julia", "text/x-julia"),
    ".hs": ("Haskell", "text/x-haskell"),
    ".ml": ("OCaml", "text/x-ocaml"),
    ".ex": ("Elixir", "text/x-elixir"),
    ".dart": ("Dart", "text/x-dart"),
}


def language_of(file_name: str) -> tuple[str, str] | None:
    """Look up (language, MIME type) by a file's own extension, whatever its case; None where it is no code."""
    return LANGUAGES.get(PurePath(file_name).suffix.lower())
