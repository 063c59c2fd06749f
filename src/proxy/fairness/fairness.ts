/**
 * What keeps tenants out of each other's way at one proxy process: their turns (fair-queue.ts), and the
 * rates that an operator set for an account, in headers of the account:
 *
 *   x-account-meta-quota-requests-per-second   above it a request is refused (`slow-down`)
 *   x-account-meta-quota-bytes-per-second      bodies in both directions flow no faster
 *
 * Who asks is who pays: the account of the caller, not of what is asked for. Nobody in particular
 * (anonymous requests) is a tenant of his own for each account.
 */
import type { Clock } from '#env/env.ts';
import { FairQueue, type FairQueueLimits, type Place, slowDown } from './fair-queue.ts';
import { TokenBucket } from './token-bucket.ts';

export const REQUEST_RATE_HEADER = 'x-account-meta-quota-requests-per-second';
export const BYTE_RATE_HEADER = 'x-account-meta-quota-bytes-per-second';
/** A slower flow would look like a stalled one. */
const LEAST_BYTE_RATE = 64 * 1024;

const MAX_TENANTS = 10_000;
/** Small bodies are not held up but owed; who owes for longer than this has to wait. */
const MAX_DEBT_MS = 1_000;

type Headers = Readonly<Record<string, string>>;

export interface FairnessOptions {
  readonly clock: Clock;
  /** What is known of an account at once; it learns more behind the caller's back. */
  readonly headersOf: (account: string) => Headers | undefined;
  readonly limits?: Partial<FairQueueLimits>;
}

/** Who asks. */
export interface Tenant {
  /** Undefined: nobody in particular. */
  readonly account: string | undefined;
  /** Whose data is asked for, where that is known: anonymous requests are told apart by it. */
  readonly of: string;
}

/** One request's. */
export interface Turn {
  /** Waits until these bytes may flow; undefined where nothing limits them. */
  readonly pace?: (bytes: number) => Promise<void>;
  /** The request is over; `bytes`: of its bodies, all together. */
  leave(bytes: number): void;
}

interface Rates {
  readonly requests: TokenBucket | undefined;
  readonly bytes: TokenBucket | undefined;
}

const NO_RATES: Rates = { requests: undefined, bytes: undefined };

export class Fairness {
  readonly #options: FairnessOptions;
  readonly #queue: FairQueue;
  /** The one that asked longest ago first. */
  readonly #rates = new Map<string, Rates>();

  constructor(options: FairnessOptions) {
    this.#options = options;
    this.#queue = new FairQueue(options.clock, options.limits);
  }

  get waiting(): number {
    return this.#queue.waiting;
  }

  /**
   * A promise only where the request has to wait.
   * @throws OperatingError `slow-down` {retryAfterSeconds}
   */
  enter(tenant: Tenant, signal: () => AbortSignal): Turn | Promise<Turn> {
    const { account, of } = tenant;
    const rates = account === undefined ? NO_RATES : this.#ratesOf(account);
    checkRates(rates);
    const key = account ?? `?${of}`;
    const place = this.#queue.enter(key);
    if (place !== undefined) return this.#turn(place, rates);
    return this.#queue.wait(key, signal()).then((given) => this.#turn(given, rates));
  }

  #turn(place: Place, { bytes: bucket }: Rates): Turn {
    const queue = this.#queue;
    if (bucket === undefined) return { leave: () => queue.leave(place) };
    const { clock } = this.#options;
    let paced = 0;
    return {
      pace: async (bytes) => {
        paced += bytes;
        const waitMs = bucket.take(bytes);
        if (waitMs > 0) await clock.sleep(waitMs);
      },
      leave: (bytes) => {
        bucket.take(Math.max(0, bytes - paced));
        queue.leave(place);
      },
    };
  }

  /** Buckets go on as long as their rate is the same. */
  #ratesOf(account: string): Rates {
    const headers = this.#options.headersOf(account);
    const requests = rateOf(headers, REQUEST_RATE_HEADER, 1);
    const bytes = rateOf(headers, BYTE_RATE_HEADER, LEAST_BYTE_RATE);
    const known = this.#rates.get(account);
    if (requests === undefined && bytes === undefined) {
      if (known !== undefined) this.#rates.delete(account);
      return NO_RATES;
    }
    const rates = {
      requests: this.#bucket(known?.requests, requests),
      bytes: this.#bucket(known?.bytes, bytes),
    };
    this.#keep(account, rates);
    return rates;
  }

  #bucket(known: TokenBucket | undefined, rate: number | undefined): TokenBucket | undefined {
    if (rate === undefined) return undefined;
    return known?.perSecond === rate ? known : new TokenBucket(this.#options.clock, rate);
  }

  #keep(account: string, rates: Rates): void {
    this.#rates.delete(account);
    if (this.#rates.size >= MAX_TENANTS) {
      const [oldest] = this.#rates.keys();
      this.#rates.delete(oldest!);
    }
    this.#rates.set(account, rates);
  }
}

function checkRates({ requests, bytes }: Rates): void {
  const owedMs = bytes?.take(0) ?? 0;
  const waitMs = owedMs > MAX_DEBT_MS ? owedMs : (requests?.takeIfThere(1) ?? 0);
  if (waitMs > 0) throw slowDown(Math.max(1, Math.ceil(waitMs / 1000)));
}

/** What is no number limits nothing. */
function rateOf(headers: Headers | undefined, name: string, least: number): number | undefined {
  const text = headers?.[name];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Math.max(least, Number(text)) : undefined;
}
