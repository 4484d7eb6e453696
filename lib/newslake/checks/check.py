"""check_lakehouse: measure what the settings file says, keep what was found, and tell of breaches."""

import math
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from newslake.checks.measures import Measured, measured
from newslake.checks.rules import Check, load_checks
from newslake.checks.webhook import checked_address, message_of, post
from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_spec
from newslake.run.jobrun import JobRun, log
from newslake.run.options import utc_moment, utc_now
from newslake.spark.frames import frame_of

TABLE = "check_results"


def check_lakehouse(
    lake: Lakehouse,
    run: JobRun,
    *,
    checks: str = "standard",
    webhook: str | None = None,
    at: str | None = None,
) -> None:
    """Check what the tables hold against the thresholds of a settings file, and end with status 1 where one
    is not kept.

    Every check leaves a row in table check_results; each breach is one line on stdout, and all of them one
    POST to the webhook. A check whose table is not there yet, or which has nothing to measure, is no breach
    unless the file says that it is required.

    Args:
        checks: Settings file in YAML, or the name of one that ships with newslake (docs/operate.md).
        webhook: Address that breaches are posted to as JSON (default: NEWSLAKE_WEBHOOK of the environment).
            It is not logged.
        at: Moment to check for, such as 2019-11-15T12:00, UTC (default: now). Rows that are later do not
            count.
    """
    address = webhook or os.environ.get("NEWSLAKE_WEBHOOK") or None
    if address is not None:
        checked_address(address)
    moment = _moment(at)
    rules = load_checks(checks)
    if not any(lake.exists(table) for table in ("job_starts", "job_runs")):
        raise UserError(
            f"there is no lakehouse in {lake}: no job has run there; say where the tables are with"
            " --lakehouse"
        )
    results = []
    for place, check in enumerate(rules, start=1):
        found = _found(lake, check, moment)
        results.append(_result(run, check, found, moment))
        state = {True: "kept", False: "BREACH", None: "not judged"}[results[-1]["passed"]]
        run.progress(f"[{place}/{len(rules)}] {check.name}: {state}: {found.told}")
    _keep(lake, run, results)
    breaches = [result for result in results if result["passed"] is False]
    run.fact("checks", len(results))
    run.fact("breaches", len(breaches))
    run.fact("not judged", sum(result["passed"] is None for result in results))
    if not breaches:
        return
    for breach in breaches:
        print(f"{breach['check_name']}: {breach['told']}", flush=True)
    if address is not None:
        _post(lake, run, address, breaches)
    names = ", ".join(breach["check_name"] for breach in breaches)
    raise JobFailed(f"{len(breaches)} of {len(results)} checks failed: {names}")


def _moment(at: str | None) -> datetime:
    if at is None:
        return utc_now()
    try:
        return utc_moment(at)
    except ValueError:
        raise UserError(f"--at takes a moment such as 2019-11-15T12:00, not {at!r}") from None


def _found(lake: Lakehouse, check: Check, moment: datetime) -> Measured:
    for table in check.tables:
        if not lake.exists(table):
            return Measured(
                None, f"table {table} is not there yet; it is built by: {table_spec(table).written_by}"
            )
    return measured(lake, check, moment)


def _result(run: JobRun, check: Check, found: Measured, moment: datetime) -> dict[str, Any]:
    """A row of the table."""
    passed = (False if check.required else None) if found.value is None else check.kept(found.value)
    told = found.told if passed is not False else f"{found.told}; wanted {check.wanted()}"
    return {
        "run_id": run.run_id,
        "check_name": check.name,
        "kind": check.kind,
        "table_name": check.tables[0],
        "value": found.value,
        "at_least": check.at_least,
        "at_most": check.at_most,
        "passed": passed,
        "told": told,
        "checked_at": moment,
    }


def _keep(lake: Lakehouse, run: JobRun, results: Sequence[dict[str, Any]]) -> None:
    contract = lake.schema(TABLE)
    rows = frame_of(
        lake.spark, [tuple(result[name] for name in contract.names) for result in results], contract
    )
    lake.replace(TABLE, rows, where={"run_id": run.run_id})
    run.wrote(TABLE, len(results))


def _post(lake: Lakehouse, run: JobRun, address: str, breaches: Sequence[dict[str, Any]]) -> None:
    shown = [
        {name: _plain(value) for name, value in breach.items() if name != "run_id"} for breach in breaches
    ]
    wrong = post(address, message_of(str(lake), run.run_id, str(shown[0]["checked_at"]), shown))
    run.fact("webhook", f"not told: {wrong}" if wrong else "told")
    if wrong:
        log.error("%s: the webhook was not told of the breaches: %s", run.job, wrong)


def _plain(value: Any) -> Any:
    """A value as JSON has it: moments as text, NaN and infinity as null."""
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    return None if isinstance(value, float) and not math.isfinite(value) else value
