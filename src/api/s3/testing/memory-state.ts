/** As much of a State as bucket names need, in memory; `away` makes it fail. */
import { OperatingError } from '#base/errors.ts';
import type { KeyValue, State } from '#state/state.ts';

export interface MemoryState extends Pick<State, 'get' | 'txn'> {
  away: boolean;
}

export function memoryState(): MemoryState {
  const items = new Map<string, KeyValue>();
  let revision = 0;
  const check = (): void => {
    if (state.away) throw new OperatingError('state-unavailable', 'away');
  };
  const state: MemoryState = {
    away: false,
    async get(key) {
      check();
      return items.get(key);
    },
    async txn({ compare = [], success, failure = [] }) {
      check();
      const succeeded = compare.every((each) => {
        const found = items.get(each.key);
        if ('exists' in each) return each.exists === (found !== undefined);
        return 'modRevision' in each && each.modRevision === (found?.modRevision ?? 0);
      });
      revision += 1;
      for (const operation of succeeded ? success : failure) {
        if (operation.kind === 'delete') items.delete(operation.key);
        if (operation.kind !== 'put') continue;
        const { key, value } = operation;
        const common = { createRevision: revision, modRevision: revision, version: 1 };
        items.set(key, { key, value: Buffer.from(value), ...common });
      }
      return { succeeded, revision, results: [] };
    },
  };
  return state;
}
