/**
 * Runs `work` on every item, at most `limit` at once. The first failure stops the taking of new
 * items and is thrown when what was under way has ended.
 */
export async function parallel<Item>(
  items: Iterable<Item>,
  limit: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (let item = iterator.next(); item.done !== true; item = iterator.next()) {
      if (failures.length > 0) return;
      try {
        await work(item.value);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  if (failures.length > 0) throw failures[0];
}
