/** Takes an object's path apart; the forms are in base/names.ts. */
import type { ObjectName } from '#base/names.ts';

/** Undefined where the path is not an object's. */
export function splitPath(path: string): ObjectName | undefined {
  const second = path.indexOf('/', 1);
  const third = second < 0 ? -1 : path.indexOf('/', second + 1);
  if (path[0] !== '/' || second <= 1 || third <= second + 1 || third === path.length - 1) {
    return undefined;
  }
  return {
    account: path.slice(1, second),
    container: path.slice(second + 1, third),
    object: path.slice(third + 1),
  };
}
