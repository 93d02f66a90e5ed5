// openai-node's Responses API, as its README and the guides show it: it knows nothing of a proxy.
import OpenAI from 'openai';
import { zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod';
import { toResponseInputItems } from 'openai/lib/responses/ResponseInputItems';
import { z } from 'zod';

const client = new OpenAI();
const model = 'gpt-5.5';
const result = {};

const response = await client.responses.create({
  model,
  instructions: 'You are a coding assistant that talks like a pirate',
  input: 'Are semicolons optional in JavaScript?',
});
result.text = response.output_text;
const next = await client.responses.create({ model, input: 'And in C?', previous_response_id: response.id });
result.next = next.output_text;

const events = await client.responses.create({ model, input: 'Say "Sheep sleep deep"', stream: true });
result.types = [];
result.numbers = [];
for await (const event of events) {
  result.types.push(event.type);
  result.numbers.push(event.sequence_number);
}

const Step = z.object({ explanation: z.string(), output: z.string() });
const MathResponse = z.object({ steps: z.array(Step), final_answer: z.string() });
const parsed = await client.responses.parse({
  model,
  input: 'solve 8x + 31 = 2',
  text: { format: zodTextFormat(MathResponse, 'math_response') },
});
result.parsed = parsed.output_parsed;

const Query = z.object({ table_name: z.enum(['orders', 'customers']), limit: z.number().nullable() });
const tools = [zodResponsesFunction({ name: 'query', description: 'Query a table.', parameters: Query })];
const stream = client.responses.stream({ model, input: 'Look up all my orders.', tools });
let streamedArguments = '';
stream.on('response.function_call_arguments.delta', (event) => {
  streamedArguments = event.snapshot;
});
const asked = await stream.finalResponse();
const call = asked.output.find((item) => item.type === 'function_call');
result.call = { name: call.name, parsed: call.parsed_arguments, streamed: streamedArguments };
const input = [
  { role: 'user', content: 'Look up all my orders.' },
  ...toResponseInputItems(asked.output),
  { type: 'function_call_output', call_id: call.call_id, output: JSON.stringify([{ id: 7 }]) },
];
const helped = client.responses.stream({ model, input, tools });
result.answer = '';
helped.on('response.output_text.delta', (event) => {
  result.answer += event.delta;
});
result.whole = (await helped.finalResponse()).output_text;

let background = await client.responses.create({ model, input: 'Write a very long novel.', background: true });
result.begun = background.status;
while (background.status === 'queued' || background.status === 'in_progress') {
  background = await client.responses.retrieve(background.id);
}
result.background = background.output_text;
const resumed = client.responses.stream({ response_id: background.id, starting_after: 3 });
result.resumed = [];
for await (const event of resumed) result.resumed.push(event.sequence_number);
result.again = (await resumed.finalResponse()).output_text;

const conversation = await client.conversations.create({ metadata: { topic: 'demo' } });
await client.conversations.items.create(conversation.id, {
  items: [{ type: 'message', role: 'user', content: 'I am Ann.' }],
});
await client.responses.create({ model, input: 'Hello', conversation: conversation.id });
const updated = await client.conversations.update(conversation.id, { metadata: { topic: 'project-x' } });
result.topic = updated.metadata.topic;
result.items = [];
for await (const item of client.conversations.items.list(conversation.id, { order: 'asc', limit: 2 })) {
  result.items.push([item.type, item.role]);
}
result.gone = (await client.conversations.delete(conversation.id)).deleted;
await client.responses.delete(response.id);
result.refused = await client.responses.retrieve(response.id).catch((error) => error.status);

console.log(JSON.stringify(result));
