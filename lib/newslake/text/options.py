"""The options that make an encoder, in one place for all jobs that encode."""

from dataclasses import asdict

from newslake.run.options import option_group
from newslake.text.spec import DEFAULT_MODEL, EncoderSpec, Field, LongText, Pooling, Precision


@option_group
class EncoderOptions:
    """Options of every job that encodes. They make the encoder_id: give all these jobs the same.

    Attributes:
        encoder: The model that comes with newslake (the default), a folder with a Hugging Face or
            sentence-transformers model, or a model id on a hub.
        pooling: How a text's token vectors become one: their mean, that of the first token (cls) or the last,
            the greatest of each number (max), or a mean in which the n-th token counts n times
            (weightedmean). Default: what the folder says, else mean.
        max_tokens: Tokens that the model sees of a text, special tokens and the prompt counted. Default: what
            the folder says, else 512, or the model's limit.
        precision: Of weights and activations.
        unit: Scale vectors to length 1, or not. Default: what the folder says, else not.
        fields: What of an article is encoded; the first is the first segment, the others make the second.
        long_text: What happens to a text over max-tokens: its most central sentences are kept (summarize),
            its end is dropped (truncate), or it is read in chunks (mean-of-chunks).
        prompt: Text put before each article. Default: the folder's prompt for documents, else its default
            one, else none.
        prompt_name: Name of the folder's prompt to put before each article.
        tag_prompt: Text put before each tag, tag phrase and query. Default: the folder's prompt for queries,
            else its default one, else none.
        tag_prompt_name: Name of the folder's prompt to put before each tag, tag phrase and query.
        dimensions: Keep the first so many numbers of a vector, and scale it to length 1 (of models trained
            for that, called Matryoshka).
    """

    encoder: str = DEFAULT_MODEL
    pooling: Pooling | None = None
    max_tokens: int | None = None
    precision: Precision = "fp32"
    unit: bool | None = None
    fields: tuple[Field, ...] = EncoderSpec.fields
    long_text: LongText = "summarize"
    prompt: str | None = None
    prompt_name: str | None = None
    tag_prompt: str | None = None
    tag_prompt_name: str | None = None
    dimensions: int | None = None

    def spec(self) -> EncoderSpec:
        """The encoder."""
        given = asdict(self)
        return EncoderSpec(given.pop("encoder"), **{**given, "fields": tuple(self.fields)})


ENCODING = EncoderOptions()
"""The encoder where no option is given."""
