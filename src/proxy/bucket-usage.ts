/**
 * What a container with a quota of its own holds at this moment, by a majority: objects, all versions where
 * versions are kept, and parts of uploads that are under way.
 */
import { OperatingError } from '#base/errors.ts';
import type { ContainerName } from '#base/names.ts';
import type { Containers } from './containers.ts';
import type { ContainerInfo, Operation, PutRequest } from './contract.ts';
import type { UploadsUnderWay } from './multipart/under-way.ts';
import { checkQuota, hasQuota } from './quota.ts';
import type { Trace } from './trace.ts';
import { versionsContainer } from './versions/names.ts';

export class BucketUsage {
  readonly #containers: Containers;
  readonly #underWay: UploadsUnderWay;

  constructor(containers: Containers, underWay: UploadsUnderWay) {
    this.#containers = containers;
    this.#underWay = underWay;
  }

  /**
   * False: the bucket is gone.
   * @throws OperatingError `quota-exceeded`
   */
  async mayHold(
    operation: Operation,
    trace: Trace,
    bucket: ContainerInfo,
    request: PutRequest,
  ): Promise<boolean> {
    if (!hasQuota('container', bucket)) return true;
    const { name } = bucket;
    const isElsewhere = request.bucket !== undefined;
    const [info, versions, underWay] = await Promise.all([
      this.#containers.freshInfo(operation, trace, name),
      isElsewhere
        ? this.#containers.freshInfo(operation, trace, versionsContainer(name))
        : undefined,
      this.#underWay.of(name),
    ]);
    if (info === undefined) return false;
    const bytes = Math.max(info.bytes, versions?.bytes ?? 0);
    const held = { headers: info.headers, objects: info.objects, bytes };
    try {
      checkQuota('container', { ...held, underWay: underWay.bytes }, request);
    } catch (error) {
      // An upload may have ended since they were counted.
      if (!(error instanceof OperatingError) || underWay.bytes === 0) throw error;
      const { bytes: now } = await this.#underWay.of(name, true);
      checkQuota('container', { ...held, underWay: now }, request);
    }
    return true;
  }

  /** A part of an upload was stored. */
  took(bucket: ContainerName, user: string | undefined, bytes: number): void {
    this.#underWay.add(bucket, user, bytes);
  }
}
