"""What bounds an export to a store."""

from newslake.errors import UserError
from newslake.run.options import option_group


@option_group
class Limits:
    """What bounds an export to Milvus.

    Attributes:
        batch_rows: Vectors in one request to Milvus.
        slice_rows: Vectors between two entries in vector_exports: what a killed run sends again at most.
        writers: Tasks that send to a server at once. To a local file the driver alone sends.
    """

    batch_rows: int = 2_000
    slice_rows: int = 50_000
    writers: int = 8

    def __post_init__(self) -> None:
        if min(self.batch_rows, self.slice_rows, self.writers) < 1:
            raise UserError("--batch-rows, --slice-rows and --writers take 1 or more")


LIMITS = Limits()
