// openai-node's WebSocket mode of the Responses API, as its guide shows it: two turns on one connection.
import OpenAI from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';

const socket = new ResponsesWS(new OpenAI());
const told = [];
let text = '';

function ask(said, previous) {
  text = '';
  socket.send({ type: 'response.create', model: 'gpt-4o', input: said, store: false, previous_response_id: previous });
}

socket.on('response.output_text.delta', (event) => {
  text += event.delta;
});
socket.on('response.completed', (event) => {
  told.push(text);
  if (told.length === 1) return ask('Say two.', event.response.id);
  console.log(JSON.stringify(told));
  socket.close();
});
socket.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
ask('Say one.', null);
