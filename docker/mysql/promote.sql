-- What the control account needs beside primary.sql where Pointsman may change the primary (failover.mode).
GRANT PROCESS, RELOAD, REPLICATION SLAVE, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN
    ON *.* TO 'pointsman'@'%';
