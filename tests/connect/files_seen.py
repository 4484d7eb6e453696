"""What a session sees of some files, and does with them, as plain values: the same in any kind of session."""

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from newslake.files.inputs import checked, text_lines
from newslake.files.systems import exists, file_system, files_in, is_file, is_folder, readable

ODD = "my läke #1 50% %20 [x] {a,b} ø"


def seen(spark: SparkSession, folder: Path) -> dict[str, Any]:
    """Make some files in a folder, which is not there yet, look at them and move them about."""
    place = folder / ODD
    place.mkdir(parents=True)
    for name in ("one.txt", "two.txt"):
        (place / name).write_text(f"{name}\n")
    found: dict[str, Any] = {
        "exists": [exists(spark, f"{place}{name}") for name in ("", "/one.txt", "/none.txt")],
        "unknown": exists(spark, "nowhere://host/a"),
        "is_file": [is_file(spark, f"{place}{name}") for name in ("", "/one.txt", "/none.txt")],
        "is_folder": [is_folder(spark, f"{place}{name}") for name in ("", "/one.txt")],
        "files": files_in(spark, str(place)),
        "pattern": readable(spark, f"{place}/*.txt").removeprefix(str(folder)),
        "lines": sorted(
            row["value"] for row in text_lines(spark, checked(spark, f"{place}/t*.txt", "--files")).collect()
        ),
    }
    system, base = file_system(spark, str(place)), str(place)
    system.write(f"{base}/new/a.txt", b"first")
    system.write(f"{base}/new/a.txt", b"again")
    found["written"] = [system.read(f"{base}/new/a.txt").decode(), *system.names(f"{base}/new")]
    found["renamed"] = [system.rename(f"{base}/new/a.txt", f"{base}/deep/er/b.txt"), system.names(base)]
    found["not renamed"] = system.rename(f"{base}/none", f"{base}/new/none")
    found["folder renamed"] = [
        system.rename(f"{base}/deep", f"{base}/deeper"),
        system.names(f"{base}/deeper"),
    ]
    found["deleted"] = [system.delete(f"{base}/deeper"), system.delete(f"{base}/deeper")]
    found["left"] = [system.names(base), system.names(f"{base}/none"), system.is_folder(base)]
    found["uri"] = system.uri(base).removeprefix(f"file:{folder}")
    found["recent"] = system.modified(f"{base}/one.txt") > 1.7e9
    return found
