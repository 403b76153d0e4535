-- What the control account needs beside primary.sql where Pointsman may change the primary (failover.mode).
GRANT PROCESS, RELOAD, REPLICATION SLAVE, SUPER, REPLICATION SLAVE ADMIN, READ_ONLY ADMIN, CONNECTION ADMIN,
    BINLOG ADMIN ON *.* TO 'pointsman'@'%';
