"""Makes the server's role and its two databases, or renews the role's password. Harmless twice.

Run by the task `prepare` (prepare.tf hands this file to Python in the image, which has psycopg).
SERVER_ADDRESS is what the server will use, MASTER and MASTER_PASSWORD may create roles.
"""

import os
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

address = urlsplit(os.environ["SERVER_ADDRESS"])
role, password = unquote(address.username), unquote(address.password)
tracking = address.path.lstrip("/")
master = f"postgresql://{address.hostname}:{address.port}/postgres?{address.query}"

with psycopg.connect(
    master, user=os.environ["MASTER"], password=os.environ["MASTER_PASSWORD"], autocommit=True
) as db:
    # Only its hash travels: the statement may end in a log.
    hashed = db.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    known = db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verb = sql.SQL("ALTER" if known else "CREATE")
    db.execute(
        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
            verb, sql.Identifier(role), sql.Literal(hashed.decode())
        )
    )
    # The master of RDS is no superuser: to give a database to a role it must be a member of it.
    db.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
    for name in (tracking, f"{tracking}_login"):
        if not db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            db.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(role)
                )
            )
        db.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
        print(f"database {name}: owned by {role}")
