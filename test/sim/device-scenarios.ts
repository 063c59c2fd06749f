/** What the workload never does: one name in two policies at the same moment. */
import assert from 'node:assert/strict';
import { encodeState } from '#base/entry-codec.ts';
import type { RingScenario, Stage } from './ring-scenarios.ts';

const KEY = 'x';
const OTHER_POLICY = 7;

/** A state at this device, as replication brings it. */
async function join(stage: Stage, policy: number, kind: 'live' | 'deleted'): Promise<void> {
  const timestamp = stage.node('a').process!.clock.now();
  const none = { etag: '', size: 0, contentType: 'text/plain', clientMicros: 0 };
  const data = { timestamp, kind, writeId: timestamp.slice(4), ...none };
  const state = encodeState({ data, groups: {} });
  await stage.call('a', 'object.write', KEY, 1, { policy, intent: 'join', state });
}

export const DEVICE_SCENARIOS: readonly RingScenario[] = [
  {
    name: 'a name in one policy is not the same name in another',
    mutants: ['index-without-policy'],
    run: async (stage) => {
      await join(stage, 0, 'live');
      const { version } = await stage.stat('a', KEY, 1);
      await join(stage, OTHER_POLICY, 'deleted');
      assert.equal((await stage.stat('a', KEY, 1)).version, version, 'the other policy shows here');
      await stage.sleep(1_000);
      assert.equal((await stage.stat('a', KEY, 1)).version, version, 'the other policy shows here');
    },
  },
];
