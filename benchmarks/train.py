"""Training, on 100,000 clicks: feeding alone, whole epochs with evaluation, and the share of them spent
waiting for data.

The content model stands against the tutorial's way; nrms against a MIND iterator, a DataLoader, and itself in
one process.
"""

import tempfile
from pathlib import Path

import train_content
import train_history
from common import Measures, bench_arguments
from newslake.training.data.loading import load_training_data


def main() -> None:
    """Both parts on the same data, one table."""
    arguments = bench_arguments("Feeding and training of recommenders against other ways to do it.")
    measures = Measures(f"Training on {'13,000' if arguments.small else '100,000'} clicks", arguments.json)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = train_content.staged_folders(folder, 8_300 if arguments.small else 61_000)
        data = load_training_data(*folders)
        train_content.measure(measures, data, small=arguments.small)
        train_history.measure(measures, folder, folders, data, small=arguments.small)
    measures.finish()


if __name__ == "__main__":
    main()
