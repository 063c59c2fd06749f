/** For tests: an identity service on a state file of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '#env/env.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import type { State } from '#state/state.ts';
import { bootstrap, type ReadyAccount } from '../bootstrap.ts';
import type { IdentitySettings } from '../context.ts';
import { createIdentity, type Identity } from '../identity.ts';
import { MASTER_KEY_BYTES } from '../vault.ts';

export interface IdentityFixture {
  readonly env: NodeEnv;
  readonly folder: string;
  readonly state: State;
  readonly identity: Identity;
  readonly admin: ReadyAccount;
  readonly second: ReadyAccount;
  /** Moves the wall clock of everything here. */
  advance(ms: number): void;
  /** Another process's connection to the same state. */
  openState(): State;
  close(): Promise<void>;
}

export async function startIdentity(
  settings: Partial<IdentitySettings> = {},
): Promise<IdentityFixture> {
  const folder = mkdtempSync(join(tmpdir(), 'anello-identity-'));
  const real = createNodeEnv({ logLevel: 'silent' });
  let aheadMs = 0;
  const clock: Clock = {
    wallMicros: () => real.clock.wallMicros() + aheadMs * 1000,
    monotonicMs: () => real.clock.monotonicMs() + aheadMs,
    setTimer: (ms, task) => real.clock.setTimer(ms, task),
    sleep: (ms, signal) => real.clock.sleep(ms, signal),
    defer: (task) => real.clock.defer(task),
  };
  const env = { ...real, clock, close: () => real.close() };
  const openState = () => openSqliteState(env, join(folder, 'state.db'));
  const state = openState();
  const masterKey = Buffer.alloc(MASTER_KEY_BYTES, 7);
  // Cheap passwords: tests log in hundreds of times.
  const cheap = { passwordLn: 8, ...settings };
  const identity = createIdentity({ env, state, masterKey, settings: cheap });
  const [admin, second] = await bootstrap(identity);
  return {
    ...{ env, folder, state, identity, openState },
    admin: admin!,
    second: second!,
    advance: (ms) => {
      aheadMs += ms;
    },
    async close() {
      await identity.close();
      await state.close();
      await env.close();
      rmSync(folder, { recursive: true });
    },
  };
}
