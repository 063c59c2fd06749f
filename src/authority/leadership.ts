/**
 * Which of several authorities computes: the one that holds the lease. Any of them answers reads; what
 * changes something goes to the leader, whose address the lease's key carries.
 *
 * The lease only saves double work: two that both think they lead do no harm, since every change is
 * compared with what it was made from (store.ts).
 */
import { messageOf } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import type { LeaseId, State } from '#state/state.ts';
import { KEYS } from './records.ts';

const TTL_SECONDS = 10;
const RENEW_MS = 3000;

export class Leadership {
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #state: State;
  /** Where this authority is reached. */
  readonly #address: string;
  #lease: LeaseId | undefined;
  #leads = false;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(env: Pick<Env, 'clock' | 'log'>, state: State, address: string) {
    this.#env = env;
    this.#state = state;
    this.#address = address;
  }

  get leads(): boolean {
    return this.#leads;
  }

  async start(): Promise<void> {
    await this.#turn();
  }

  /** Address of the leader, if it is another one than this. */
  async other(): Promise<string | undefined> {
    if (this.#leads) return undefined;
    const address = (await this.#state.get(KEYS.leader))?.value.toString();
    return address === this.#address ? undefined : address;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#leads = false;
    if (this.#lease !== undefined)
      await this.#state.revokeLease(this.#lease).catch(() => undefined);
  }

  async #turn(): Promise<void> {
    const before = this.#leads;
    try {
      this.#leads = (await this.#keep()) || (await this.#campaign());
    } catch (error) {
      this.#leads = false;
      this.#env.log.warn('authority.lease-failed', { reason: messageOf(error) });
    }
    if (this.#leads !== before) this.#env.log.info('authority.leads', { leads: this.#leads });
    if (this.#stopped) return;
    this.#timer = this.#env.clock.setTimer(RENEW_MS, () => void this.#turn());
  }

  async #keep(): Promise<boolean> {
    if (this.#lease === undefined) return false;
    if (await this.#state.keepAlive(this.#lease)) return true;
    this.#lease = undefined;
    return false;
  }

  async #campaign(): Promise<boolean> {
    const known = await this.#state.get(KEYS.leader);
    // Its own name with a lease that it lost: this process was started again.
    if (known !== undefined && known.value.toString() !== this.#address) return false;
    const lease = await this.#state.grantLease(TTL_SECONDS);
    const { succeeded } = await this.#state.txn({
      compare: [{ key: KEYS.leader, modRevision: known?.modRevision ?? 0 }],
      success: [{ kind: 'put', key: KEYS.leader, value: Buffer.from(this.#address), lease }],
    });
    if (succeeded) this.#lease = lease;
    else await this.#state.revokeLease(lease);
    return succeeded;
  }
}
