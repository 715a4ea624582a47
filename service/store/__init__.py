"""Where rows and files lie: engine and transactions, SQLite, files, locks, migrations."""
