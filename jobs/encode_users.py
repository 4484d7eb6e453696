"""Makes vectors of users from their clicks by a trained model, without training again; writes user_embeddings
and news_embeddings."""

from newslake.run.cli import main
from newslake.training.encode_users import encode_users

if __name__ == "__main__":
    main(encode_users)
