/** The authority of one process, put together: what is kept, who may change it, what happens by itself. */
import type { Env } from '#env/env.ts';
import type { State } from '#state/state.ts';
import { type AskMoves, Conductor } from './conductor.ts';
import { Leadership } from './leadership.ts';
import { Members } from './membership.ts';
import { Reports } from './reports.ts';
import { AuthorityRings } from './rings.ts';
import { AuthorityStore, type Sealer } from './store.ts';

export interface AuthorityOptions {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly state: State;
  readonly sealer: Sealer;
  /** Where other authorities and operators reach this one. */
  readonly address: string;
  readonly askMoves: AskMoves;
}

export interface Authority {
  readonly clock: Env['clock'];
  readonly state: State;
  readonly store: AuthorityStore;
  readonly reports: Reports;
  readonly rings: AuthorityRings;
  readonly members: Members;
  readonly leadership: Leadership;
  readonly conductor: Conductor;
}

export function createAuthority(options: AuthorityOptions): Authority {
  const { env, state, sealer, askMoves } = options;
  const store = new AuthorityStore({ env, state, sealer });
  const reports = new Reports(state, env.clock);
  const rings = new AuthorityRings(store, reports, env.clock);
  const members = new Members(store, state, env);
  const leadership = new Leadership(env, state, options.address);
  const leads = (): boolean => leadership.leads;
  const conductor = new Conductor({ env, store, rings, reports, leads, askMoves });
  const { clock } = env;
  return { clock, state, store, reports, rings, members, leadership, conductor };
}
