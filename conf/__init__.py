"""Settings that ship with newslake: settings files (*.yaml) and settings of Spark (spark/)."""
