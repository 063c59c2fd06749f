/**
 * Accounts' quotas at the proxy. No write waits for them: an account's totals are asked for after a
 * write and decide about the next ones, so the first write of an account at a proxy is free, and an
 * account ring that does not answer stops nobody.
 */
import { messageOf } from '#base/errors.ts';
import { type ListContainers, underWayOf, usageOf } from './account-usage.ts';
import type { Accounts } from './accounts.ts';
import type { ProxyContext } from './context.ts';
import type { AccountInfo, Operation, PutRequest } from './contract.ts';
import type { UploadsUnderWay } from './multipart/under-way.ts';
import { checkQuota, hasQuota, type Limited } from './quota.ts';
import { Trace } from './trace.ts';

interface Known {
  readonly info: (AccountInfo & Limited) | undefined;
  readonly askedAtMs: number;
  /** How long the answer holds. */
  readonly holdsMs: number;
}

/** Totals of accounts come in every few seconds; to ask more often would tell nothing new. */
const ASK_AGAIN_MS = 5_000;
/** So asking takes at most a twentieth of the time, also of an account with much to be counted. */
const REST = 20;
const MAX_ACCOUNTS = 10_000;

export class AccountQuotas {
  readonly #context: ProxyContext;
  readonly #accounts: Accounts;
  readonly #underWay: UploadsUnderWay;
  /** The one that was asked about longest ago first. */
  readonly #known = new Map<string, Known>();

  constructor(context: ProxyContext, accounts: Accounts, underWay: UploadsUnderWay) {
    this.#context = context;
    this.#accounts = accounts;
    this.#underWay = underWay;
  }

  /** @throws OperatingError `quota-exceeded` */
  check(account: string, request: PutRequest): void {
    const info = this.#known.get(account)?.info;
    if (info === undefined) return;
    try {
      checkQuota('account', info, request);
    } catch (error) {
      // What is refused asks too: the account may have room again.
      this.refresh(account);
      throw error;
    }
  }

  /** What is known of it now; asked for again when that is long ago. */
  headersOf(account: string): AccountInfo['headers'] | undefined {
    this.refresh(account);
    return this.#known.get(account)?.info?.headers;
  }

  /** After a change of the account's headers here: the next write finds them as they are now. */
  async changed(account: string): Promise<void> {
    await this.#ask(account, this.#context.env.clock.monotonicMs(), 'quorum');
  }

  /** Asks for the account's totals if that was long ago; after a write, so as to be in no write's way. */
  refresh(account: string): void {
    const known = this.#known.get(account);
    const nowMs = this.#context.env.clock.monotonicMs();
    if (known !== undefined && nowMs < known.askedAtMs + known.holdsMs) return;
    this.#keep(account, { info: known?.info, askedAtMs: nowMs, holdsMs: ASK_AGAIN_MS });
    void this.#ask(account, nowMs, 'nearest');
  }

  async #ask(account: string, askedAtMs: number, read: Operation['read']): Promise<void> {
    const { env } = this.#context;
    const operation: Operation = {
      txn: 'quota',
      signal: new AbortController().signal,
      read,
    };
    try {
      // Kept nowhere: it belongs to no request that somebody could ask about.
      const trace = new Trace(operation.txn, 'account-quota', `/${account}`, 0, askedAtMs);
      const totals = await this.#accounts.info(operation, trace, account);
      const list: ListContainers = (of, query) => this.#accounts.list(operation, trace, of, query);
      // Who may hold as much as they like is not counted so exactly.
      const info = hasQuota('account', totals)
        ? {
            ...(await usageOf(account, totals, list)),
            underWay: await underWayOf(account, this.#underWay, list),
          }
        : totals;
      const tookMs = env.clock.monotonicMs() - askedAtMs;
      this.#keep(account, { info, askedAtMs, holdsMs: Math.max(ASK_AGAIN_MS, REST * tookMs) });
    } catch (error) {
      env.log.debug('quota.account-unknown', { account, reason: messageOf(error) });
    }
  }

  #keep(account: string, known: Known): void {
    this.#known.delete(account);
    if (this.#known.size >= MAX_ACCOUNTS) {
      const [oldest] = this.#known.keys();
      this.#known.delete(oldest!);
    }
    this.#known.set(account, known);
  }
}
