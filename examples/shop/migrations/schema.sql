-- Runs at each start, so every statement may run again.

CREATE TABLE IF NOT EXISTS products (
    sku   TEXT PRIMARY KEY,
    stock INTEGER NOT NULL,
    cents INTEGER NOT NULL
);

-- status: placed, confirmed, paid, shipped
CREATE TABLE IF NOT EXISTS orders (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    email      TEXT NOT NULL,
    sku        TEXT NOT NULL REFERENCES products,
    quantity   INTEGER NOT NULL,
    cents      INTEGER NOT NULL,
    status     TEXT NOT NULL DEFAULT 'placed',
    created_on TEXT NOT NULL DEFAULT (date('now'))
);

-- The primary keys of the next three tables make the workers safe to run twice.
CREATE TABLE IF NOT EXISTS invoices (order_id INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mails (
    order_id INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    PRIMARY KEY (order_id, kind)
);
CREATE TABLE IF NOT EXISTS stock_moves (order_id INTEGER PRIMARY KEY);

-- touched: 1 if the cart was used since its last check.
CREATE TABLE IF NOT EXISTS carts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    email   TEXT NOT NULL,
    touched INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS imports (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    csv        TEXT NOT NULL,
    created_on TEXT NOT NULL DEFAULT (date('now'))
);

CREATE TABLE IF NOT EXISTS reports (
    day    TEXT PRIMARY KEY,
    orders INTEGER NOT NULL,
    cents  INTEGER NOT NULL
);

INSERT OR IGNORE INTO products (sku, stock, cents) VALUES ('mug', 100, 1250), ('pen', 1000, 290);
