// What the programs of Node's drivers share: a check is a line of its status and its name with the value it found, so
// that a value that is another through the proxy is a difference.
'use strict';

const tables = [
    'DROP TABLE IF EXISTS kinds, log, files',
    `CREATE TABLE kinds (id INT PRIMARY KEY AUTO_INCREMENT, tiny TINYINT, big BIGINT, ubig BIGINT UNSIGNED, price DECIMAL(20,6),
     ratio DOUBLE, day DATE, moment DATETIME(6), stamp TIMESTAMP(3) NULL, span TIME(3), year_of YEAR, bits BIT(10),
     word VARCHAR(100) CHARACTER SET utf8mb4, old VARCHAR(100) CHARACTER SET latin1, bytes VARBINARY(300), blob_of LONGBLOB,
     doc JSON, place POINT, choice ENUM('a','b','c'), several SET('x','y','z'))`,
    'CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, word VARCHAR(200), n INT DEFAULT 0, UNIQUE KEY word (word))',
    'CREATE TABLE files (id INT, word VARCHAR(50))',
    'DROP PROCEDURE IF EXISTS both_ways',
    'DROP PROCEDURE IF EXISTS two_sets',
    'DROP PROCEDURE IF EXISTS fails',
    'CREATE PROCEDURE both_ways(IN a INT, OUT b INT, INOUT c INT) BEGIN SET b = a * 2; SET c = c + a; END',
    'CREATE PROCEDURE two_sets() BEGIN SELECT 1 AS one; SELECT word FROM log ORDER BY id LIMIT 2; INSERT INTO log (word) VALUES (UUID()); END',
    "CREATE PROCEDURE fails() BEGIN SELECT 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'as told', MYSQL_ERRNO = 1644; END",
];

const row = {
    tiny: -5, big: '-9223372036854775808', ubig: '18446744073709551615', price: '12345678901234.567891', ratio: 0.1,
    day: '2024-02-29', moment: '2024-02-29 12:34:56.789012', stamp: '2024-01-01 00:00:01.500', span: '-838:59:58.999',
    year_of: 1999, bits: Buffer.from([3, 255]), word: 'Grüße 😀 日本', old: 'Grüße', bytes: Buffer.from([0, 1, 255, 39, 92]),
    doc: '{"a": [1, "zwei", null]}', choice: 'b', several: 'x,z',
};

function shown(value) {
    return JSON.stringify(value, (_, v) => {
        if (typeof v === 'bigint') return `${v}n`;
        if (v && v.type === 'Buffer' && Array.isArray(v.data)) return `0x${Buffer.from(v.data).toString('hex').slice(0, 80)}`;
        return v;
    });
}

/** What a driver says of an error, without what differs from one run to the next. */
function told(error) {
    const text = String(error.sqlMessage || error.message).replace(/\d+\.\d+\.\d+\.\d+/g, 'ADDRESS').replace(/\bno: \d+|thread \d+|id: \d+/g, 'N');
    return { errno: error.errno, code: error.code, state: error.sqlState, text: error.errno ? text : text.slice(0, 60) };
}

async function check(name, body, limit = 30000) {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer')), limit); });
    try {
        const value = await Promise.race([body(), late]);
        process.stdout.write(`ok\t${name}: ${shown(value)}\n`);
    } catch (error) {
        process.stdout.write(`fail\t${name}: ${shown(told(error))}\n`);
        process.stdout.write(`${error.stack}\n`);
    } finally {
        clearTimeout(timer);
    }
}

/** The error that must come. */
async function refused(promise) {
    try {
        await promise;
    } catch (error) {
        return told(error);
    }
    throw new Error('was not refused');
}

function end() {
    process.stdout.write('done\n');
    process.exit(0);
}

const account = {
    host: process.env.HOST, port: Number(process.env.PORT), user: process.env.DBUSER, password: process.env.DBPASSWORD,
    database: process.env.SCHEMA,
};

module.exports = { account, check, end, refused, row, tables, told };
