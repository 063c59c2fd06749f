/**
 * Which incarnations of a device have counted on this node, in order. One that was replaced is not taken
 * into service again when its disk comes back: by its own log it is complete, and knows nothing of what its
 * successor has acknowledged in its place, nor of deletions that have been reclaimed since.
 *
 * An incarnation is on record before it is complete for anything. So a blank folder that was formatted
 * because a disk was mounted late takes no place from that disk, unless it was filled meanwhile. One that
 * was never here is let in: the disk may come from another node, or this node's own data may have been lost.
 */
import path from 'node:path';
import { z } from 'zod';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { DeviceRegister } from '#device/open.ts';
import type { Env } from '#env/env.ts';

interface Parts {
  readonly env: Pick<Env, 'disk' | 'log'>;
  readonly config: { readonly data: string };
}

const schema = z.object({ format: z.literal(1), counted: z.array(z.string()) });

/** A device that is wiped once a week has these in twenty years. */
const MOST = 1000;

export class Incarnations implements DeviceRegister {
  readonly #parts: Parts;
  readonly #file: string;

  constructor(parts: Parts, device: number) {
    this.#parts = parts;
    this.#file = path.join(parts.config.data, `incarnations-${device}`);
  }

  async check(incarnation: string): Promise<void> {
    if (!(await this.isFormer(incarnation))) return;
    throw new OperatingError(
      'device-former',
      'another one has counted in the place of this device since: it would miss what that acknowledged (wipe it, or take it away and see anello device import)',
      { incarnation },
    );
  }

  async isFormer(incarnation: string): Promise<boolean> {
    const counted = await this.#read();
    return counted.includes(incarnation) && counted.at(-1) !== incarnation;
  }

  async note(incarnation: string): Promise<void> {
    const counted = await this.#read();
    if (counted.at(-1) === incarnation) return;
    const next = { format: 1, counted: [...counted, incarnation].slice(-MOST) };
    await this.#parts.env.disk.replace(this.#file, Buffer.from(`${JSON.stringify(next)}\n`));
  }

  /** A file that can't be understood refuses nobody: who was replaced is not known any more. */
  async #read(): Promise<readonly string[]> {
    const { env } = this.#parts;
    if ((await env.disk.stat(this.#file)) === undefined) return [];
    const text = (await env.disk.read(this.#file)).toString();
    try {
      return schema.parse(JSON.parse(text)).counted;
    } catch (error) {
      env.log.warn('device.incarnations-unreadable', {
        file: this.#file,
        reason: messageOf(error),
      });
      return [];
    }
  }
}
