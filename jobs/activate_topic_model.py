"""Makes the topic model fitted last the active one, once articles and users have vectors by it; writes
active_models."""

from newslake.run.cli import main
from newslake.topics.activate import activate_topic_model

if __name__ == "__main__":
    main(activate_topic_model)
