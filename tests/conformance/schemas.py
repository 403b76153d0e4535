"""Makes schemas by way of a driver that is itself under test: schemas.py FOLDER-OF-PYMYSQL NAME..."""

import os
import sys

sys.path.insert(0, sys.argv[1])
import pymysql  # noqa: E402

conn = pymysql.connect(
    host=os.environ["HOST"],
    port=int(os.environ["PORT"]),
    user=os.environ["DBUSER"],
    password=os.environ["DBPASSWORD"],
)
for name in sys.argv[2:]:
    conn.cursor().execute(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4")
conn.close()
