/** A process of its own: adds one to `n` again and again, and says so when each was acknowledged. */
import { createNodeEnv } from '#env/node/node-env.ts';
import { openSqliteState } from '../sqlite-state.ts';

const [path, times] = process.argv.slice(2);
const state = openSqliteState(createNodeEnv({ logLevel: 'silent' }), path!);

for (let done = 0; done < Number(times); ) {
  const old = await state.get('n');
  const value = Buffer.from(String(Number(old?.value.toString() ?? 0) + 1));
  const { succeeded } = await state.txn({
    compare: [{ key: 'n', modRevision: old?.modRevision ?? 0 }],
    success: [{ kind: 'put', key: 'n', value }],
  });
  if (!succeeded) continue;
  done += 1;
  process.stdout.write('.');
}
await state.close();
process.exit(0);
