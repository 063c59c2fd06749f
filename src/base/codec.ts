/**
 * msgpack with every option explicit. Records (msgpackr's own extension) are off, so any msgpack
 * reader can read what we write; `undefined` fields are left out of maps by the callers.
 */
import { Packr, Unpackr } from 'msgpackr';
import { OperatingError } from './errors.ts';

const packr = new Packr({ useRecords: false, moreTypes: false, encodeUndefinedAsNil: true });
const unpackr = new Unpackr({
  useRecords: false,
  moreTypes: false,
  mapsAsObjects: true,
  int64AsType: 'number',
});

/** A fresh Buffer that the caller owns. */
export function pack(value: unknown): Buffer {
  return packr.pack(value);
}

/**
 * Decodes one value. Binary fields are views into `bytes`: copy what outlives it.
 * @throws OperatingError `malformed`
 */
export function unpack(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes);
  } catch (cause) {
    throw new OperatingError('malformed', 'not valid msgpack', { length: bytes.length }, { cause });
  }
}
