/** /info: what this cluster really offers, by which clients choose what to use. */
import { refuse } from './errors.ts';
import { allowedMethods } from './methods.ts';
import { reply } from './reply.ts';
import { KEEP_ALIVE_MS } from './report.ts';
import type { SwiftRequest } from './request.ts';
import type { SwiftService } from './service.ts';
import { TEMP_URL_DIGESTS, TEMP_URL_METHODS } from './temp-url.ts';

/** How often an answer that takes long moves (report.ts). */
const KEEP_ALIVE_SECONDS = KEEP_ALIVE_MS / 1000;
const METHODS = 'GET, HEAD, OPTIONS';

export function info(request: SwiftRequest): void {
  const headers = ['Content-Type', 'application/json; charset=UTF-8'];
  if (!METHODS.split(', ').includes(request.method)) {
    throw refuse('method-not-allowed', undefined, ['Allow', METHODS]);
  }
  if (request.method === 'OPTIONS') reply(request, 200, [...headers, 'Allow', METHODS]);
  else reply(request, 200, headers, JSON.stringify(capabilities(request.service)));
}

function capabilities(service: SwiftService): Record<string, unknown> {
  const { limits, store } = service;
  return {
    swift: {
      version: service.version,
      strict_cors_mode: true,
      policies: store.policies().map(({ name, isDefault }) => ({
        name,
        aliases: name,
        ...(isDefault && { default: true }),
      })),
      allow_account_management: service.accountManagement,
      account_autocreate: true,
      max_file_size: limits.maxFileBytes,
      max_meta_name_length: limits.maxMetaNameBytes,
      max_meta_value_length: limits.maxMetaValueBytes,
      max_meta_count: limits.maxMetaCount,
      max_meta_overall_size: limits.maxMetaOverallBytes,
      max_header_size: limits.maxHeaderBytes,
      max_object_name_length: limits.maxObjectNameBytes,
      container_listing_limit: limits.listingLimit,
      account_listing_limit: limits.listingLimit,
      max_account_name_length: limits.maxAccountNameBytes,
      max_container_name_length: limits.maxContainerNameBytes,
      extra_header_count: 0,
      valid_api_versions: ['v1', 'v1.0'],
    },
    slo: {
      max_manifest_segments: limits.maxManifestParts,
      max_manifest_size: limits.maxManifestBytes,
      min_segment_size: limits.minPartBytes,
      yield_frequency: KEEP_ALIVE_SECONDS,
    },
    dlo: {},
    account_quotas: {},
    container_quotas: {},
    object_versioning: {},
    tempurl: {
      methods: TEMP_URL_METHODS,
      allowed_digests: TEMP_URL_DIGESTS,
      incoming_remove_headers: [],
      incoming_allow_headers: [],
      outgoing_remove_headers: ['x-object-meta-*'],
      outgoing_allow_headers: ['x-object-meta-public-*'],
    },
    bulk_delete: {
      max_deletes_per_request: limits.maxDeletesPerRequest,
      max_failed_deletes: limits.maxDeletesPerRequest,
    },
    anello: {
      cluster: service.clusterName,
      version: service.version,
      policies: store.policies().map(({ name, copies, mode }) => ({ name, copies, mode })),
      request_headers: ['X-Anello-Read'],
      methods: allowedMethods('object', service.accountManagement).split(', '),
    },
  };
}
