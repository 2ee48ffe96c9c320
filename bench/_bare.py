"""The least that Gradio allows, to compare with: one chat box and nothing else."""

PROGRAM = """
import os
import gradio as gr
with gr.Blocks() as demo:
    chat = gr.Chatbot()
    box = gr.Textbox()
    box.submit(lambda text, history: ("", history), [box, chat], [box, chat])
    demo.load(lambda: "", None, box)
demo.launch(server_port=int(os.environ["PORT"]), quiet=True, run_history=False, state_session_capacity=500)
"""
