/**
 * Where uploads are kept until they are complete, and their parts for as long as the object lives: in
 * one account of the store's own, one container for each bucket that has uploads. No account's owner
 * sees it, its bytes are counted once, as the finished object's, and one listing finds them all.
 *
 *   /.s3-parts/ACCOUNT:BUCKET/u/KEY NUL TIME RANDOM   an upload: who, when, headers (upload-record.ts)
 *   /.s3-parts/ACCOUNT:BUCKET/p/UPLOAD/NUMBER/WRITE   a part; a repeated number is another object
 *   /.s3-parts/ACCOUNT:BUCKET/c/UPLOAD                being completed, or complete: which key it became
 *
 * NUL is below every character of a key, so uploads list by key, then by time. An upload's id is RANDOM
 * TIME (48 and 14 hex digits; microseconds): it begins with the write id that the finished object gets,
 * by which the object is known to be this upload's. Ids of old uploads have no time.
 */
import type { ContainerName, ObjectName } from '#base/names.ts';

export const PARTS_ACCOUNT = '.s3-parts';

export const UPLOADS = 'u/';
export const PARTS = 'p/';
export const COMPLETIONS = 'c/';

const NUL = '\0';
const NUMBER_DIGITS = 5;
const UPLOAD_ID = /^[0-9a-f]{48}(?:[0-9a-f]{14})?$/;
const RANDOM_DIGITS = 48;
const TIME_DIGITS = 14;
const WRITE_ID_DIGITS = 16;

export function isPartsAccount(account: string): boolean {
  return account === PARTS_ACCOUNT;
}

/** Neither an account nor a colon in it is mistaken: the account is percent-encoded. */
export function partsContainer({ account, container }: ContainerName): ContainerName {
  return { account: PARTS_ACCOUNT, container: `${encodeURIComponent(account)}:${container}` };
}

export function bucketOfParts(container: string): ContainerName | undefined {
  const colon = container.indexOf(':');
  if (colon < 1) return undefined;
  const account = decodeURIComponent(container.slice(0, colon));
  return { account, container: container.slice(colon + 1) };
}

/** `random`: 24 bytes. */
export function newUploadId(random: Buffer, startedMicros: number): string {
  return random.toString('hex') + startedMicros.toString(16).padStart(TIME_DIGITS, '0');
}

/** When it was begun; undefined: an old id. */
export function startOf(uploadId: string): number | undefined {
  const time = uploadId.slice(RANDOM_DIGITS);
  return time === '' ? undefined : Number.parseInt(time, 16);
}

export function isUploadId(text: string): boolean {
  return UPLOAD_ID.test(text);
}

export function writeIdOf(uploadId: string): string {
  return uploadId.slice(0, WRITE_ID_DIGITS);
}

export function uploadName(bucket: ContainerName, key: string, uploadId: string): ObjectName {
  const order = uploadId.slice(RANDOM_DIGITS) + uploadId.slice(0, RANDOM_DIGITS);
  return { ...partsContainer(bucket), object: `${UPLOADS}${key}${NUL}${order}` };
}

/** Undefined: no upload's name. */
export function parseUploadName(object: string): { key: string; uploadId: string } | undefined {
  const at = object.lastIndexOf(NUL);
  if (!object.startsWith(UPLOADS) || at < 0) return undefined;
  const order = object.slice(at + 1);
  const uploadId = order.slice(-RANDOM_DIGITS) + order.slice(0, -RANDOM_DIGITS);
  return { key: object.slice(UPLOADS.length, at), uploadId };
}

/** The marker after all uploads of a key. */
export function afterUploads(key: string): string {
  return `${UPLOADS}${key}${NUL}~`;
}

export function partPrefix(uploadId: string): string {
  return `${PARTS}${uploadId}/`;
}

/** Of all attempts of one number. */
export function slotPrefix(uploadId: string, number: number): string {
  return `${partPrefix(uploadId)}${String(number).padStart(NUMBER_DIGITS, '0')}/`;
}

export function partName(
  bucket: ContainerName,
  uploadId: string,
  number: number,
  writeId: string,
): ObjectName {
  return { ...partsContainer(bucket), object: slotPrefix(uploadId, number) + writeId };
}

export function parsePartNumber(uploadId: string, object: string): number {
  const at = partPrefix(uploadId).length;
  return Number(object.slice(at, at + NUMBER_DIGITS));
}

export function uploadOfPart(object: string): string | undefined {
  const end = object.indexOf('/', PARTS.length);
  const uploadId = object.slice(PARTS.length, end);
  return object.startsWith(PARTS) && isUploadId(uploadId) ? uploadId : undefined;
}

export function completionName(bucket: ContainerName, uploadId: string): ObjectName {
  return { ...partsContainer(bucket), object: `${COMPLETIONS}${uploadId}` };
}
