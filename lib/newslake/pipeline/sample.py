"""The whole pipeline on the built-in sample: what `make run` shows."""

from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.mind.generator import GeneratorSpec, generate_mind
from newslake.mind.parse import parse_behaviors
from newslake.pipeline.steps import Step, run_steps
from newslake.pipeline.summary import metrics_table, tables_built
from newslake.text.articles import encode_articles
from newslake.text.spec import DEFAULT_MODEL
from newslake.training.recommender import train_recommender

MODELS = ("mf", "content")


def run_pipeline(
    lake: Lakehouse,
    run: JobRun,
    *,
    articles: int = GeneratorSpec.articles,
    users: int = GeneratorSpec.users,
    impressions: int = GeneratorSpec.impressions,
    encoder: str = DEFAULT_MODEL,
    epochs: int | None = None,
    seed: int = 0,
    sample: str | None = None,
) -> None:
    """Generate the built-in sample, run every job on it in order, and print the metrics of the models side by side.

    Run again, it does only what is missing.

    Args:
        articles: Articles in the sample.
        users: Users in the sample.
        impressions: Impressions in the sample.
        encoder: Hugging Face model id or folder of the encoder.
        epochs: Epochs of training at most (default: each model's own).
        seed: Seed of the sample and of the training.
        sample: Folder for the sample's files (default: _sample beside the tables; must be local).
    """
    folder = sample or f"{lake.root or '.'}/_sample"
    files = {"articles": articles, "users": users, "impressions": impressions, "seed": seed}
    training = {"seed": seed, **({} if epochs is None else {"epochs": epochs})}
    run_steps(
        lake,
        run,
        [
            Step(generate_mind, {"out": folder, **files}),
            Step(
                parse_behaviors,
                {"train": [f"{folder}/train"], "dev": [f"{folder}/dev"]},
                inputs=(f"{folder}/train", f"{folder}/dev"),
            ),
            Step(encode_articles, {"encoder": encoder}),
            *(Step(train_recommender, {"model": model, **training}) for model in MODELS),
        ],
    )
    print(metrics_table(lake, MODELS))
    print(f"\nTables: {lake}\n{tables_built(lake)}")
