"""Settings that ship with newslake: profiles (*.yaml) and Spark settings (spark/)."""
