"""Write the generated pages: `python -m newslake.reference [FOLDER of docs]`, in the repository."""

import sys
from pathlib import Path

from newslake.reference.write import pages


def main() -> None:
    """Write what has changed, and say so."""
    docs = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    if not (docs / "architecture.md").is_file():
        print(
            f"{docs} is no folder of newslake's docs: run this in the repository, or name the folder",
            file=sys.stderr,
        )
        sys.exit(2)
    for name, text in pages(docs).items():
        file = docs / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(file)


if __name__ == "__main__":
    main()
