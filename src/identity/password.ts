/**
 * Passwords by scrypt, kept with their parameters so that these can be raised later:
 * `$scrypt$ln=15,r=8,p=1$<salt, base64>$<hash, base64>`.
 *
 * One check costs 32 MiB and tens of milliseconds of a thread, so only MAX_RUNNING run at once and
 * only MAX_WAITING wait: a flood of log-ins gets `busy`, not the machine's memory.
 */
import { scrypt, timingSafeEqual } from 'node:crypto';
import { OperatingError } from '#base/errors.ts';
import type { Random } from '#env/env.ts';

/** The binary logarithm of scrypt's N: 15 takes 32 MiB and some 60 ms. */
export const DEFAULT_LN = 15;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
const MAX_LN = 20;
export const MAX_PASSWORD_BYTES = 4096;
const MAX_RUNNING = 2;
const MAX_WAITING = 256;

const FORM =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)$/;

interface Cost {
  readonly ln: number;
  readonly r: number;
  readonly p: number;
}

export class Passwords {
  readonly #random: Random;
  readonly #cost: Cost;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param ln the cost of new passwords; stored ones keep theirs */
  constructor(random: Random, ln = DEFAULT_LN) {
    this.#random = random;
    this.#cost = { ln, r: 8, p: 1 };
  }

  async hash(password: string): Promise<string> {
    const salt = this.#random.bytes(SALT_BYTES);
    const { ln, r, p } = this.#cost;
    const hash = await this.#derive(password, salt, this.#cost, HASH_BYTES);
    return `$scrypt$ln=${ln},r=${r},p=${p}$${salt.toString('base64')}$${hash.toString('base64')}`;
  }

  /** Without a stored hash (no such user) it takes as long and answers false. */
  async matches(password: string, stored: string | undefined): Promise<boolean> {
    const parts = stored === undefined ? undefined : parse(stored);
    const salt = parts?.salt ?? Buffer.alloc(SALT_BYTES);
    const expected = parts?.hash ?? Buffer.alloc(HASH_BYTES);
    const hash = await this.#derive(password, salt, parts?.cost ?? this.#cost, expected.length);
    return timingSafeEqual(hash, expected) && parts !== undefined;
  }

  async #derive(password: string, salt: Buffer, cost: Cost, length: number): Promise<Buffer> {
    if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES) {
      throw new OperatingError('bad-request', 'the password is too long');
    }
    await this.#enter();
    try {
      return await runScrypt(password, salt, cost, length);
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running >= MAX_RUNNING) {
      if (this.#waiting.length >= MAX_WAITING) {
        throw new OperatingError('busy', 'too many log-ins at once');
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
  }
}

function runScrypt(password: string, salt: Buffer, cost: Cost, length: number): Promise<Buffer> {
  const { r, p } = cost;
  const N = 2 ** cost.ln;
  return new Promise((resolve, reject) => {
    scrypt(password, salt, length, { N, r, p, maxmem: 256 * N * r }, (error, hash) =>
      error ? reject(error) : resolve(hash),
    );
  });
}

function parse(stored: string): { cost: Cost; salt: Buffer; hash: Buffer } {
  const match = FORM.exec(stored);
  const [ln, r, p] = [1, 2, 3].map((group) => Number(match?.[group]));
  if (!match || ln! > MAX_LN || r! > 32 || p! > 16 || ln! < 1 || r! < 1 || p! < 1) {
    throw new OperatingError('malformed', 'not a stored password');
  }
  const [salt, hash] = [match[4]!, match[5]!].map((text) => Buffer.from(text, 'base64'));
  return { cost: { ln: ln!, r: r!, p: p! }, salt: salt!, hash: hash! };
}
