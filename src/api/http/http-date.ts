/** Dates as HTTP and Swift's listings write them. */
import { formatSeconds } from '#base/timestamp.ts';

/** Last-Modified: whole seconds, rounded up, so that it is never before the write. */
export function lastModifiedSeconds(clientMicros: number): number {
  return Math.ceil(clientMicros / 1e6);
}

export function httpDate(seconds: number): string {
  return new Date(seconds * 1000).toUTCString();
}

/** Undefined for what is no date: the condition does not count then. */
export function parseHttpDate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000);
}

export function xTimestamp(clientMicros: number): string {
  return formatSeconds(clientMicros);
}

/** Listings: `2024-05-06T07:08:09.123450`, UTC. Rows of one second share their first half. */
export class ListingDates {
  #second = -1;
  #text = '';

  format(clientMicros: number): string {
    const second = Math.floor(clientMicros / 1e6);
    if (second !== this.#second) {
      this.#second = second;
      this.#text = new Date(second * 1000).toISOString().slice(0, 19);
    }
    const tens = Math.floor((clientMicros - second * 1e6) / 10);
    return `${this.#text}.${String(HUNDRED_THOUSAND + tens).slice(1)}0`;
  }
}

/** Its digits lead tens of microseconds to five: half of the cost of `padStart`. */
const HUNDRED_THOUSAND = 100_000;
