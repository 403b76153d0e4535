// Every part of the API of Node's mysql2.
'use strict';

const { Readable } = require('node:stream');
const mysql = require('mysql2/promise');
const callback = require('mysql2');
const { account, check, end, refused, row, tables } = require('./checks.js');

const columns = 'tiny, big, ubig, price, ratio, day, moment, stamp, span, year_of, bits, word, old, bytes, doc, ST_AsText(place) AS place, choice, several';

async function kinds(connection, name, settings) {
    const insert = `INSERT INTO kinds (${Object.keys(row).join(', ')}, place) VALUES (${Object.keys(row).map(() => '?').join(', ')}, ST_GeomFromText('POINT(1 2)'))`;
    for (const way of ['query', 'execute']) {
        await check(`${name}: ${way} inserts every type`, async () => {
            const [done] = await connection[way](insert, Object.values(row));
            return [done.affectedRows, done.insertId > 0, done.warningStatus];
        });
        await check(`${name}: ${way} reads every type`, async () => {
            const [rows, fields] = await connection[way]({ sql: `SELECT ${columns} FROM kinds ORDER BY id DESC LIMIT 1`, ...settings });
            return [rows, fields.map((field) => [field.name, field.columnType, field.characterSet, field.columnLength, field.flags])];
        });
        await check(`${name}: ${way} reads NULLs`, async () => (await connection[way]('SELECT NULL AS a, ? AS b', [null]))[0]);
        await check(`${name}: ${way} reads rows as arrays`, async () =>
            (await connection[way]({ sql: 'SELECT 1 AS a, 2 AS a, ? AS c', values: ['x'], rowsAsArray: true }))[0]);
        await check(`${name}: ${way} nests tables`, async () =>
            (await connection[way]({ sql: 'SELECT k.id IS NULL AS n, l.id FROM kinds k LEFT JOIN log l ON 0 LIMIT 1', nestTables: '_' }))[0]);
    }
}

async function writes(connection) {
    await check('insert id', async () => {
        const [one] = await connection.query("INSERT INTO log (word) VALUES ('one')");
        const [two] = await connection.execute('INSERT INTO log (word, n) VALUES (?, ?), (?, ?)', ['two', 2, 'three', 3]);
        const [[told]] = await connection.query('SELECT LAST_INSERT_ID() AS id');
        return [one.insertId, two.insertId, two.affectedRows, two.info, told];
    });
    await check('info of an update', async () => {
        const [done] = await connection.query('UPDATE log SET n = 3 WHERE id <= 3');
        const [[counts]] = await connection.query('SELECT ROW_COUNT() AS n');
        return [done.affectedRows, done.changedRows, done.info, counts];
    });
    await check('bulk insert of nested arrays', async () => {
        const words = Array.from({ length: 500 }, (_, n) => [`bulk${n}`, n]);
        const [done] = await connection.query('INSERT INTO log (word, n) VALUES ?', [words]);
        return [done.affectedRows, done.insertId > 0, done.info];
    });
    await check('FOUND_ROWS after SQL_CALC_FOUND_ROWS', async () => {
        const [rows] = await connection.query('SELECT SQL_CALC_FOUND_ROWS id FROM log ORDER BY id LIMIT 2');
        const [[found]] = await connection.query('SELECT FOUND_ROWS() AS n');
        return [rows, found];
    });
    await check('warnings', async () => {
        await connection.query("SET sql_mode = ''");
        const [done] = await connection.query("INSERT INTO log (word, n) VALUES ('warned', 'abc')");
        const [warnings] = await connection.query('SHOW WARNINGS');
        const [[count]] = await connection.query('SELECT @@warning_count AS n');
        await connection.query('SET sql_mode = DEFAULT');
        return [done.warningStatus, warnings, count];
    });
    await check('SHOW COUNT(*) WARNINGS after a division', async () => {
        await connection.query("SELECT 1/0, CAST('x' AS SIGNED)");
        return (await connection.query('SHOW COUNT(*) WARNINGS'))[0];
    });
}

async function errors(connection) {
    await check('duplicate key', () => refused(connection.query("INSERT INTO log (word) VALUES ('one')")));
    await check('duplicate key, prepared', () => refused(connection.execute('INSERT INTO log (word) VALUES (?)', ['one'])));
    await check('syntax', () => refused(connection.query('SELEC 1')));
    await check('syntax, prepared', () => refused(connection.execute('SELEC ?', [1])));
    await check('no such table', () => refused(connection.query('SELECT * FROM nowhere')));
    await check('no such column, prepared', () => refused(connection.execute('SELECT nothing FROM log WHERE id = ?', [1])));
    await check('no such schema', () => refused(connection.query('USE nowhere')));
    await check('a signal', () => refused(connection.query('CALL fails()')));
    await check('too few parameters', () => refused(connection.execute('SELECT ?, ?', [1])));
    await check('after errors the connection works', async () => (await connection.query('SELECT 1 AS a'))[0]);
}

async function procedures(connection) {
    await check('out parameters', async () => {
        await connection.query('SET @c = 10');
        const [done] = await connection.query('CALL both_ways(4, @b, @c)');
        const [values] = await connection.query('SELECT @b, @c');
        return [done.affectedRows, values];
    });
    await check('several results of a procedure', async () => {
        const [results] = await connection.query('CALL two_sets()');
        return results;
    });
    await check('several results of a prepared call', async () => {
        const [results] = await connection.execute('CALL two_sets()');
        return results;
    });
}

async function transactions(connection, other) {
    await check('rollback', async () => {
        await connection.beginTransaction();
        await connection.execute('INSERT INTO log (word) VALUES (?)', ['undone']);
        const [inside] = await connection.execute('SELECT COUNT(*) AS n FROM log WHERE word = ?', ['undone']);
        await connection.rollback();
        const [after] = await connection.execute('SELECT COUNT(*) AS n FROM log WHERE word = ?', ['undone']);
        return [inside, after];
    });
    await check('commit and savepoints', async () => {
        await connection.beginTransaction();
        await connection.query("INSERT INTO log (word) VALUES ('kept')");
        await connection.query('SAVEPOINT s');
        await connection.query("INSERT INTO log (word) VALUES ('lost')");
        await connection.query('ROLLBACK TO SAVEPOINT s');
        await connection.commit();
        return (await connection.query("SELECT word FROM log WHERE word IN ('kept', 'lost')"))[0];
    });
    await check('a lock that is not had in time', async () => {
        await connection.query('SET innodb_lock_wait_timeout = 1');
        await other.beginTransaction();
        await other.query("UPDATE log SET n = 9 WHERE word = 'one'");
        const error = await refused(connection.query("UPDATE log SET n = 8 WHERE word = 'one'"));
        await other.rollback();
        return error;
    });
    await check('a read-only transaction', async () => {
        await connection.query('START TRANSACTION READ ONLY');
        const error = await refused(connection.query("INSERT INTO log (word) VALUES ('no')"));
        await connection.query('COMMIT');
        return error;
    });
    await check('autocommit off', async () => {
        await connection.query('SET autocommit = 0');
        await connection.query("INSERT INTO log (word) VALUES ('implicit')");
        await connection.rollback();
        await connection.query('SET autocommit = 1');
        return (await connection.query("SELECT COUNT(*) AS n FROM log WHERE word = 'implicit'"))[0];
    });
}

async function statements(connection) {
    await check('one prepared statement, many executions', async () => {
        const statement = await connection.prepare('SELECT ? + 1 AS n, CONCAT(?, "!") AS s');
        const found = [];
        for (const value of [1, -1, 2.5]) found.push((await statement.execute([value, `v${value}`]))[0][0]);
        await statement.close();
        return found;
    });
    await check('types change between executions', async () => {
        const found = [];
        for (const value of [1, 'text', null, true, Buffer.from('b'), new Date(Date.UTC(2020, 1, 2)), 1.5]) {
            found.push((await connection.execute('SELECT ? AS v, ? IS NULL AS n', [value, value]))[0][0]);
        }
        return found;
    });
    await check('a statement outlives its table', async () => {
        await connection.query('CREATE TABLE shape (a INT)');
        await connection.query('INSERT INTO shape VALUES (1)');
        const statement = await connection.prepare('SELECT * FROM shape WHERE a = ?');
        const before = (await statement.execute([1]))[0];
        await connection.query('ALTER TABLE shape ADD COLUMN b INT DEFAULT 7');
        const after = (await statement.execute([1]))[0];
        await statement.close();
        await connection.query('DROP TABLE shape');
        return [before, after];
    });
    await check('two hundred statements at once', async () => {
        const all = [];
        for (let n = 0; n < 200; n += 1) all.push(await connection.prepare(`SELECT ${n} AS n, ? AS v`));
        let sum = 0;
        for (const statement of all) sum += (await statement.execute([1]))[0][0].n;
        for (const statement of all) await statement.close();
        return sum;
    });
    await check('many statements', async () => {
        const many = await mysql.createConnection({ ...account, multipleStatements: true });
        const [results, fields] = await many.query("SET @a = 1; SELECT @a AS a; INSERT INTO log (word) VALUES ('multi'); SELECT 'x' AS x; SELECT 2");
        const error = await refused(many.query('SELECT 1; SELEC 2; SELECT 3'));
        await many.end();
        return [results.map((result) => (Array.isArray(result) ? result : [result.affectedRows])), fields.map((field) => field && field.length), error];
    });
}

async function streams(connection) {
    await check('rows as a stream', async () => {
        const stream = connection.connection.query('SELECT id, n FROM log WHERE word LIKE "bulk%" ORDER BY id').stream({ highWaterMark: 5 });
        let count = 0, sum = 0;
        for await (const found of stream) { count += 1; sum += found.n; }
        return [count, sum];
    });
    await check('a packet of 5 MB there and back', async () => {
        const big = Buffer.alloc(5 << 20, 'abcdefg');
        const [[found]] = await connection.execute('SELECT ? AS big, LENGTH(?) AS n', [big, big]);
        return [found.n, Buffer.compare(Buffer.from(found.big), big)];
    });
    await check('a packet of 17 MB back', async () => {
        await connection.query('SET @n = 1');
        const [[found]] = await connection.query("SELECT COUNT(*) AS n FROM log");
        const [[long]] = await connection.query("SELECT LENGTH(CONCAT(REPEAT('x', 15000000), 'y')) AS n");
        return [found.n > 0, long];
    });
    await check('LOAD DATA LOCAL INFILE', async () => {
        const lines = Array.from({ length: 1000 }, (_, n) => `${n}\tline${n}\n`);
        const [done] = await connection.query({
            sql: "LOAD DATA LOCAL INFILE 'lines' INTO TABLE files", infileStreamFactory: () => Readable.from(lines.map((line) => Buffer.from(line))),
        });
        const [[sum]] = await connection.query('SELECT COUNT(*) AS n, SUM(id) AS s FROM files');
        return [done.affectedRows, done.info, sum];
    });
}

async function sessions(connection) {
    await check('ping', async () => { await connection.ping(); return true; });
    await check('change user', async () => {
        await connection.query('SET @mine = 5, time_zone = "+03:00"');
        await connection.changeUser({ user: account.user, password: account.password, database: 'information_schema' });
        const [found] = await connection.query('SELECT @mine AS v, @@time_zone = @@global.time_zone AS zone, DATABASE() AS d');
        await connection.changeUser({ user: account.user, password: account.password, database: account.database });
        return found;
    });
    await check('change to nobody', () => refused((async () => {
        const lost = await mysql.createConnection(account);
        await lost.changeUser({ user: 'nobody', password: 'wrong' });
    })()));
    await check('reset', async () => {
        if (!connection.reset) return 'this version has none';
        await connection.query('SET @mine = 6, sql_mode = "ANSI"');
        await connection.reset();
        return (await connection.query('SELECT @mine AS v, @@sql_mode = @@global.sql_mode AS mode, DATABASE() AS d'))[0];
    });
    await check('SET NAMES', async () => {
        const found = [];
        for (const names of ['latin1', 'utf8mb4', 'cp1250', "utf8mb4 COLLATE utf8mb4_bin"]) {
            await connection.query(`SET NAMES ${names}`);
            found.push((await connection.query('SELECT @@character_set_client AS c, @@collation_connection AS l, HEX("ü") AS h'))[0][0]);
        }
        await connection.query('SET NAMES utf8mb4');
        return found;
    });
    await check('state of a session', async () => {
        await connection.query('SET SESSION group_concat_max_len = 4321, @a = 1.50, @b = "é"');
        await connection.query('CREATE TEMPORARY TABLE own (a INT)');
        await connection.query('INSERT INTO own VALUES (1), (2)');
        const [found] = await connection.query('SELECT @@group_concat_max_len AS i, @a AS a, @b AS b, (SELECT COUNT(*) FROM own) AS n');
        await connection.query('DROP TEMPORARY TABLE own');
        await connection.query('SET SESSION group_concat_max_len = DEFAULT');
        return found;
    });
    await check('user locks', async () => {
        const [[first]] = await connection.query("SELECT GET_LOCK('node', 1) AS l, IS_USED_LOCK('node') = CONNECTION_ID() AS mine");
        const [[last]] = await connection.query("SELECT RELEASE_LOCK('node') AS l, IS_FREE_LOCK('node') AS f");
        return [first, last];
    });
    await check('connection id', async () => {
        const [[found]] = await connection.query('SELECT CONNECTION_ID() AS id');
        return found.id === connection.threadId;
    });
}

async function openings() {
    for (const [name, options] of Object.entries({
        compression: { compress: true }, tls: { ssl: { rejectUnauthorized: false } },
        'big numbers as text': { supportBigNumbers: true, bigNumberStrings: true }, 'dates as text': { dateStrings: true },
        'found rows off': { flags: ['-FOUND_ROWS'] }, 'time zone': { timezone: '+05:30' }, latin1: { charset: 'LATIN1_SWEDISH_CI' },
        'decimal numbers': { decimalNumbers: true }, 'no deprecated EOF': { flags: ['-DEPRECATE_EOF'] }, 'named placeholders': { namedPlaceholders: true },
        attributes: { connectAttributes: { program_name: 'checks' } },
    })) {
        await check(`opened with ${name}`, async () => {
            const connection = await mysql.createConnection({ ...account, ...options });
            const [rows] = await connection.query("SELECT CAST(9007199254740993 AS SIGNED) AS b, CAST('2020-01-02 03:04:05' AS DATETIME) AS d, 1.50 AS p, 'ü' AS u");
            const [same] = await connection.query('UPDATE log SET n = n WHERE id = 1');
            const [[cipher]] = await connection.query("SHOW STATUS LIKE 'Ssl_cipher'");
            let named = null;
            if (options.namedPlaceholders) [named] = await connection.execute('SELECT :a + :b AS s', { a: 1, b: 2 });
            await connection.end();
            return [rows, same.affectedRows, same.changedRows, options.ssl ? 'cipher' : cipher && cipher.Value !== undefined, named];
        });
    }
    await check('a wrong password', () => refused(mysql.createConnection({ ...account, password: 'wrong' })));
    await check('a schema that is not there', () => refused(mysql.createConnection({ ...account, database: 'nowhere' })));
}

async function pools() {
    await check('a pool of four serves fifty', async () => {
        const pool = mysql.createPool({ ...account, connectionLimit: 4 });
        const found = await Promise.all(Array.from({ length: 50 }, (_, n) => pool.query('SELECT ? AS n', [n])));
        const [[slept]] = await pool.execute('SELECT SLEEP(0.01) AS s');
        await pool.end();
        return [found.reduce((sum, [[one]]) => sum + one.n, 0), slept];
    });
    await check('a pool cluster', async () => {
        const cluster = callback.createPoolCluster();
        cluster.add('a', account);
        cluster.add('b', account);
        const ask = () => new Promise((resolve, reject) => cluster.getConnection('*', (error, connection) => {
            if (error) return reject(error);
            return connection.query('SELECT 1 AS a', (failed, rows) => { connection.release(); failed ? reject(failed) : resolve(rows); });
        }));
        const found = [await ask(), await ask()];
        cluster.end(() => {});
        return found;
    });
}

async function kills(connection) {
    for (const verb of ['KILL QUERY', 'KILL']) {
        await check(`${verb} of a statement that runs`, async () => {
            const victim = await mysql.createConnection(account);
            victim.on('error', () => {});
            const slow = victim.query("SELECT COUNT(*) FROM log a, log b, log c, log d WHERE a.word < b.word AND SLEEP(0.01) = 0").then(() => 'ended', (error) => error.errno || error.code);
            await new Promise((resolve) => { setTimeout(resolve, 300); });
            await connection.query(`${verb} ${victim.threadId}`);
            const how = await slow;
            const after = await victim.query('SELECT 1').then(() => 'lives', () => 'gone');
            victim.destroy();
            return [verb === 'KILL' ? typeof how : how, after];
        });
    }
    await check('KILL of nobody', () => refused(connection.query('KILL 4000000000')));
    await check('a statement out of time', async () => {
        const late = await mysql.createConnection(account);
        const error = await refused(late.query({ sql: 'SELECT SLEEP(5)', timeout: 200 }));
        late.destroy();
        return error;
    });
}

(async () => {
    const connection = await mysql.createConnection(account);
    const other = await mysql.createConnection(account);
    for (const statement of tables) await connection.query(statement);
    await kinds(connection, 'plain');
    await kinds(connection, 'text', { dateStrings: true, supportBigNumbers: true, bigNumberStrings: true });
    for (const part of [writes, errors, procedures, statements, streams]) await part(connection);
    await transactions(connection, other);
    await sessions(connection);
    await openings();
    await pools();
    await kills(other);
    end();
})().catch((error) => { console.error(error); process.exit(1); });
