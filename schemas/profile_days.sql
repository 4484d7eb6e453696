CREATE TABLE IF NOT EXISTS {table} (
  as_of DATE NOT NULL COMMENT 'The day at whose start, 00:00 UTC, the profile holds',
  built_on DATE COMMENT 'The earlier day to whose decayed weights its events were added; NULL: to none',
  clock STRING NOT NULL COMMENT 'Which events were before the start of the day: those that arrived before it (arrival), or that occurred (occurrence)',
  counted_to MAP<STRING, STRING> NOT NULL COMMENT 'For each table of events, how far it was read: version@id of the table in Delta, empty where it was not there yet; files have no entry',
  settings MAP<STRING, STRING> NOT NULL COMMENT 'The options that made the weights',
  completed_at TIMESTAMP COMMENT 'When the last table of the day had been written, UTC; NULL until then: such a day is not built on'
)
USING DELTA
COMMENT 'One row is one day of profiles: what it was made from, and whether all of it is written'
TBLPROPERTIES (
  'newslake.key' = 'as_of',
  'newslake.written_by' = 'build_profiles',
  'delta.enableDeletionVectors' = 'false'
)
