"""The set-up's archive of classes: sessions of this environment read theirs from it."""

from pathlib import Path

import pyspark

from newslake.class_archive import submit


def test_spark_submit_maps_the_classes_that_set_up_archived(tmp_path: Path) -> None:
    script, log = tmp_path / "session.py", tmp_path / "classes.log"
    script.write_text("from newslake.session import spark_session\nspark_session('classes').range(1).collect()\n", encoding="utf-8")
    options = f"spark.driver.extraJavaOptions=-Xlog:class+load:file={log}"
    done = submit(Path(pyspark.__file__).parent, "--conf", options, str(script))
    assert done.returncode == 0, done.stderr
    assert "[cds" not in done.stdout + done.stderr
    loaded = [line for line in log.read_text(encoding="utf-8").splitlines() if "org.apache.spark.sql." in line]
    mapped = [line for line in loaded if "shared objects file" in line]
    assert len(mapped) > 1000
    assert len(mapped) > 0.9 * len([line for line in loaded if "$$Lambda" not in line])
