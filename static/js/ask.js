// Sends a change to the API; gives its answer, or raises an error with the server's own sentence.

export async function ask(method, url, body) {
  let answer;
  try {
    answer = await fetch(url, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw new Error("The server does not answer. Nothing was changed; try again.");
  }
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `The server answered ${answer.status}.`);
  return answer.status === 204 ? null : answer.json();
}
