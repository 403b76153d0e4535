-- Run once on each replica, when its data directory is made. Replication starts by itself at the real start.

-- What was written while it was made is this server's own and must not pass for transactions of the cluster.
RESET MASTER;
SET GLOBAL gtid_slave_pos='';
CHANGE MASTER TO MASTER_HOST='primary', MASTER_PORT=3306, MASTER_USER='replication', MASTER_PASSWORD='replication',
    MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=2;
