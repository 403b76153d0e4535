-- Run once on each replica, when its data directory is made. Replication starts by itself at the real start.

-- What was written while it was made is this server's own and must not pass for transactions of the cluster.
RESET BINARY LOGS AND GTIDS;
CHANGE REPLICATION SOURCE TO SOURCE_HOST='primary', SOURCE_PORT=3306, SOURCE_USER='replication',
    SOURCE_PASSWORD='replication', SOURCE_AUTO_POSITION=1, SOURCE_SSL=1, SOURCE_CONNECT_RETRY=2,
    SOURCE_RETRY_COUNT=86400;

-- Not an option of the command line: the server could not be set up under it.
SET PERSIST super_read_only=ON;
