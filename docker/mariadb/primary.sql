-- Run once on the primary, when its data directory is made. It is in the binary log: the replicas get it all.

-- What replicas log in with.
CREATE USER 'replication'@'%' IDENTIFIED BY 'replication';
GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%';

-- The proxy's control account.
CREATE USER 'pointsman'@'%' IDENTIFIED BY 'pointsman';
GRANT SELECT, SHOW VIEW, REPLICA MONITOR, BINLOG MONITOR ON *.* TO 'pointsman'@'%';

-- The application.
CREATE DATABASE app;
CREATE USER 'app'@'%' IDENTIFIED BY 'app';
GRANT ALL ON app.* TO 'app'@'%';
CREATE TABLE app.fruit (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL);
INSERT INTO app.fruit (name) VALUES ('apple'), ('pear'), ('plum');
