/**
 * From a bucket's name to the container behind it: in the signer's own project first, which needs no
 * state; else whoever claimed the name across the cluster.
 */
import { accountOf } from '#auth/caller.ts';
import type { ContainerInfo } from '#proxy/contract.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';

export interface Bucket {
  readonly account: string;
  readonly container: string;
  readonly info: ContainerInfo;
}

/** Undefined for who signed for no project, or not at all. */
export function ownAccount(request: S3Request): string | undefined {
  const { caller } = request;
  if (caller.kind !== 'user' || caller.projectId === undefined) return undefined;
  return accountOf(caller.projectId);
}

/** @throws S3Error NoSuchBucket */
export async function findBucket(request: S3Request, name = request.bucket): Promise<Bucket> {
  const bucket = await lookUp(request, name);
  if (name === request.bucket) request.found = bucket;
  return bucket;
}

async function lookUp(request: S3Request, name: string): Promise<Bucket> {
  const { store, names } = request.service;
  const own = ownAccount(request);
  if (own !== undefined) {
    const info = await store.containerInfo(request, { account: own, container: name }, false);
    if (info !== undefined) return { account: own, container: name, info };
  }
  const account = await names.ownerOf(name);
  if (account === undefined || account === own) throw noSuchBucket(name);
  const info = await store.containerInfo(request, { account, container: name }, false);
  if (info === undefined) throw noSuchBucket(name);
  return { account, container: name, info };
}

/** A container of which the account is known. */
export async function findBucketAt(
  request: S3Request,
  account: string,
  container: string,
): Promise<Bucket | undefined> {
  const info = await request.service.store.containerInfo(request, { account, container }, false);
  return info && { account, container, info };
}

export function noSuchBucket(name: string): S3Error {
  return refuse('NoSuchBucket', undefined, { BucketName: name });
}

export function noSuchKey(key: string): S3Error {
  return refuse('NoSuchKey', undefined, { Key: key });
}
