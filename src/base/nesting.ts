/** How deeply a value of JSON is nested: what walks over one by recursion ends on its stack otherwise. */

/** True: there are objects or arrays within each other, more than so many. */
export function isNestedDeeper(value: unknown, levels: number): boolean {
  let level = containers([value]);
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === levels) return true;
    level = containers(level.flatMap((container) => Object.values(container)));
  }
  return false;
}

function containers(values: readonly unknown[]): object[] {
  return values.filter((value) => typeof value === 'object' && value !== null);
}
