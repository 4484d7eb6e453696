"""What a pipeline is: jobs with their options, and which of them waits for which. Nothing here runs or reads
anything."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from newslake.run.cli import JobFunction
from newslake.run.options import flag

Option = str | int | float | bool | None | Sequence[str]
Machine = Literal["cpu", "gpu", "trainer"]


@dataclass(frozen=True)
class Task:
    """One job of a pipeline.

    Attributes:
        job: the job's function.
        options: those that differ from the job's defaults, by name.
        after: keys of the tasks that must be done before.
        key: names the task in its pipeline; by default the job's name.
        machine: what it wants where there is a choice: workers without (cpu) or with GPUs (gpu), or one
            machine with a GPU on the driver (trainer).
        inputs: local folders, files or patterns of them that are all that the job reads; where they change,
            the task is to be done again.
        makes: what it leaves that no table shows, such as a folder; where it is gone, the task is to be done
            again.
    """

    job: JobFunction
    options: Mapping[str, Option] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    key: str = ""
    machine: Machine = "cpu"
    inputs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.job.__name__)

    @property
    def arguments(self) -> list[str]:
        """The options as they stand on the job's command line."""
        return arguments_of(self.options)


def arguments_of(options: Mapping[str, Option]) -> list[str]:
    """Options by name as arguments: `{"as_of": "2019-11-15", "force": True}` is `--as-of=2019-11-15 --force`;
    None is left out."""
    found: list[str] = []
    for name, value in options.items():
        if isinstance(value, bool):
            found.append(flag(name) if value else flag(f"no_{name}"))
        elif isinstance(value, str | int | float):
            found.append(f"{flag(name)}={value}")
        elif value is not None:
            found += [f"{flag(name)}={item}" for item in value]
    return found


def checked(tasks: Iterable[Task]) -> list[Task]:
    """The tasks, in an order in which they can run one by one.

    Raises:
        ValueError: two have one key, or one waits for a task that does not come before it.
    """
    done: set[str] = set()
    result = list(tasks)
    for task in result:
        if task.key in done:
            raise ValueError(f"two tasks are called {task.key}")
        if missing := set(task.after) - done:
            raise ValueError(
                f"task {task.key} waits for {', '.join(sorted(missing))}, which does not come before it"
            )
        done.add(task.key)
    return result


def named(tasks: Sequence[Task], suffix: str) -> list[Task]:
    """The same tasks with a suffix to their keys, so that one pipeline can hold them for several days."""
    own = {task.key: f"{task.key}{suffix}" for task in tasks}
    return [
        replace(task, key=own[task.key], after=tuple(own.get(key, key) for key in task.after))
        for task in tasks
    ]


def without(tasks: Sequence[Task], keys: Collection[str]) -> list[Task]:
    """The tasks but for some; who waits for one of these waits for what it would have waited for."""
    instead: dict[str, tuple[str, ...]] = {}
    kept: list[Task] = []
    for task in tasks:
        after = tuple(dict.fromkeys(other for key in task.after for other in instead.get(key, (key,))))
        if task.key in keys:
            instead[task.key] = after
        else:
            kept.append(replace(task, after=after))
    return kept
