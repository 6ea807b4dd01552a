// The page's one animation loop. What is drawn registers here, and is asked once per frame.

const drawn = new Set();
let running = false;

export function animate(part) {
  drawn.add(part);
  if (!running) {
    running = true;
    requestAnimationFrame(turn);
  }
}

export const still = (part) => drawn.delete(part);

function turn(now) {
  running = drawn.size > 0;
  for (const part of drawn) part.draw(now);
  if (running) requestAnimationFrame(turn);
}
