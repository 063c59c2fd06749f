/** Changes a rows database behind the back of the store, as flipped bits would. */
import Database from 'better-sqlite3';

/** Of values of another type than their columns have, too: SQLite takes those from a file, but not from a statement. */
export function spoilFile(file: string, sql: string): void {
  const strict = withSchema(file, (db) => {
    const made = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").raw().all();
    db.exec(
      `UPDATE sqlite_schema SET sql = replace(replace(sql, ') STRICT, ', ') '), ') STRICT', ')')`,
    );
    return made;
  });
  const db = new Database(file);
  db.exec(sql);
  db.close();
  withSchema(file, (again) => {
    const restore = again.prepare('UPDATE sqlite_schema SET sql = ? WHERE name = ?');
    for (const [name, made] of strict as [string, string][]) restore.run(made, name);
  });
}

function withSchema<Result>(file: string, change: (db: Database.Database) => Result): Result {
  const db = new Database(file);
  db.unsafeMode(true);
  db.pragma('writable_schema = ON');
  const result = change(db);
  db.close();
  return result;
}
