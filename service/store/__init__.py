"""Storage of rows and files: engine and transactions, SQLite, files, locks, migrations."""
