# frozen_string_literal: true

# verk's dashboard and Sidekiq Web show the same of one Redis, and the addresses of Sidekiq Web lead
# to the right pages of the dashboard.

require "net/http"
require_relative "browser"

# verk's dashboard, as a browser and a program ask it.
class Dashboard
  include Interop

  def initialize(program)
    @base = URI(wait_until("the dashboard to listen") { program.output[%r{http://[^/\s]+}] })
  end

  # The page and its path, after the redirects.
  def visit(path)
    response = send_to(Net::HTTP::Get.new(path))
    if response.is_a?(Net::HTTPRedirection)
      path = response["Location"]
      response = send_to(Net::HTTP::Get.new(path))
    end
    assert_equal "200", response.code, "GET #{path}"
    [response.body.dup.force_encoding("UTF-8"), path]
  end

  def json(path) = JSON.parse(visit("/api/v1/#{path}").first)

  # Changes something, as the page does.
  def change(path)
    response = send_to(Net::HTTP::Post.new("/api/v1/#{path}", "Sec-Fetch-Site" => "same-origin"))
    assert_equal "200", response.code, "POST #{path}: #{response.body}"
  end

  private

  def send_to(request) = Net::HTTP.start(@base.host, @base.port) { |http| http.request(request) }
end

COUNTS = %w[processed failed scheduled retries dead processes busy enqueued].freeze

web = Browser.new
dashboard = nil

by_sidekiq = lambda do
  counts = web.json("/stats")["sidekiq"].slice(*COUNTS)
  counts.merge("queues" => web.json("/stats/queues").reject { |_, jobs| jobs.zero? })
end

by_verk = lambda do
  stats = dashboard.json("stats")
  queues = dashboard.json("queues").to_h { |queue| queue.values_at("queue", "waiting") }
  stats.slice(*COUNTS).merge(
    "busy" => stats["running"], "enqueued" => stats["waiting"], "queues" => queues.reject { |_, jobs| jobs.zero? },
  )
end

# Waits until both show these numbers, and the same of everything else. Processes report every 10
# seconds, and verk's figures may be a second old.
both_show = lambda do |wanted|
  last = nil
  begin
    wait_until("both to show it") do
      last = [by_sidekiq.call, by_verk.call]
      last.uniq.one? && last.first >= wanted
    end
  rescue Interop::Failed => e
    raise Interop::Failed, "#{e.message}: #{wanted}\nSidekiq Web: #{last[0]}\nverk: #{last[1]}"
  end
end

# Where the page of Sidekiq Web leads to for a job.
bookmark = lambda do |page, jid|
  link = web.get(page)[/href="([^"]*-#{jid})"/, 1]
  assert link, "no link to #{jid} on #{page}"
  link
end

# The page of the dashboard at an address of Sidekiq Web has all texts.
leads_to = lambda do |address, path, *texts|
  page, arrived = dashboard.visit(address)
  assert arrived.start_with?(path), "#{address} leads to #{arrived}"
  texts.each { |text| assert page.include?(text), "#{text} is not on #{arrived}" }
end

# Bytes that Elixir's Verk 1.7.3 wrote.
elixir = lambda do |jid, more = {}|
  JSON.generate({
    "args" => "[1,{\"a\":\"b\"}]", "class" => "OkWorker", "created_at" => nil, "enqueued_at" => 1_795_465_767,
    "error_backtrace" => nil, "error_message" => nil, "failed_at" => nil, "finished_at" => nil, "jid" => jid,
    "max_retry_count" => 25, "queue" => "default", "retried_at" => nil, "retry_count" => 0,
  }.merge(more))
end
failed = { "error_message" => "no good", "error_backtrace" => "\n", "failed_at" => 1_795_465_769, "retry_count" => 1 }

shown = { "VERK_TAG" => "billing", "VERK_SIDEKIQ_6_WORK" => "true", "VERK_SHUTDOWN_TIMEOUT" => "1000ms" }
address = { "DASHBOARD_ADDR" => "127.0.0.1:0" }

Program.run("dashboard", address, [ENV.fetch("VERK_DASHBOARD")]) do |program|
  dashboard = Dashboard.new(program)

  check "both show nothing of an empty Redis" do
    both_show.call(COUNTS.to_h { |name| [name, 0] }.merge("queues" => {}))
  end

  check "both show what Rust and Ruby enqueued and scheduled, by queue" do
    rust_client
    3.times { |n| Reports::Print.set("queue" => "reports").perform_async(n) }
    2.times { |n| Mailers::Welcome.perform_in(3600, n.to_s) }
    sizes = Sidekiq::Queue.all.to_h { |queue| [queue.name, queue.size] }
    both_show.call("scheduled" => 3, "enqueued" => sizes.values.sum, "queues" => sizes)
    assert sizes.fetch("mailers") > 250 && sizes["reports"] == 3, "queues are #{sizes}"
  end
  flush

  retried, died, in_rust, in_ruby = nil
  with_rust("default:5,mailers:5", shown) do |rust|
    with_sidekiq(%w[reports]) do |ruby|
      check "both count the runs and failures of Rust and of Ruby, and show both processes with their jobs" do
        runs = Array.new(3) { |n| [rust, Mailers::Welcome.perform_async(n.to_s)] }
        runs += Array.new(2) { |n| [ruby, Reports::Print.set("queue" => "reports").perform_async(n)] }
        runs << [rust, retried = Payments::Charge.perform_async(2000, 99)]
        runs << [rust, died = Payments::Charge.set("retry" => 0).perform_async(2100, 99)]
        runs << [rust, in_rust = Reports::Build.perform_async(3600)]
        runs << [ruby, in_ruby = Reports::Watch.set("queue" => "reports").perform_async]
        runs.each { |side, jid| side.wait_for(jid) }
        both_show.call("processed" => 7, "failed" => 2, "retries" => 1, "dead" => 1, "processes" => 2, "busy" => 2)
      end

      check "both have the same processes, with their queues and what they run" do
        known = Sidekiq::ProcessSet.new.to_h { |process| [process.identity, process.queues.sort] }
        own = dashboard.json("processes")
        assert_equal known, own.to_h { |process| [process["identity"], process["queues"].map { |q| q["queue"] }.sort] }, "processes"
        running = dashboard.json("running")["jobs"].to_h { |job| job.values_at("jid", "queue") }
        assert_equal({ in_rust => "default", in_ruby => "reports" }, running, "running jobs")
        page = web.get("/busy")
        [*known.keys.map { |identity| identity.split(":").first(2).join(":") }, in_rust, in_ruby].each do |text|
          assert page.include?(text), "#{text} is not on Sidekiq Web"
        end
      end

      check "a bookmark of Sidekiq Web leads to the page of that job, or to that list" do
        later = Mailers::Welcome.perform_in(3600, "later")
        waiting = Reports::Print.set("queue" => "nobody").perform_async(1)
        leads_to.call(bookmark.call("/retries", retried), "/retries/", retried, "Payments::Charge", "could not charge 2000 cents")
        leads_to.call(bookmark.call("/morgue", died), "/dead/", died, "Payments::Charge", "could not charge 2100 cents")
        leads_to.call(bookmark.call("/scheduled", later), "/scheduled/", later, "Mailers::Welcome")
        leads_to.call("/queues/nobody", "/queues/nobody", waiting, "Reports::Print")
        leads_to.call("/busy", "/running", in_rust, "Reports::Build", in_ruby, "Reports::Watch")
        leads_to.call("/retries", "/retries", retried)
        leads_to.call("/morgue", "/dead", died)
        leads_to.call("/scheduled", "/scheduled", later)
        ["/", "/queues", "/metrics"].each { |path| leads_to.call(path, path) }
      end

      check "what one of them changes, the other shows" do
        key = bookmark.call("/morgue", died).split("/").last
        dashboard.change("sets/dead/jobs/#{key}/requeue")
        rust.wait_for(died, nth: 2)
        both_show.call("dead" => 1, "failed" => 3)
        web.press("/retries", "kill", retried)
        both_show.call("retries" => 0, "dead" => 2)
        web.press("/queues", "delete", "/queues/nobody")
        both_show.call("queues" => {})
      end
    end
  end
  flush

  check "both show the jobs of Elixir's Verk, whose arguments are text" do
    redis do |r|
      r.lpush("queue:default", elixir.call("22789705601213654278"))
      r.sadd("queues", "default") # as Sidekiq does with its next job
      r.zadd("schedule", Time.now.to_f + 3600, elixir.call("33538392943697289428", "enqueued_at" => nil))
      r.zadd("retry", Time.now.to_f + 3600, elixir.call("10554296763756345812", failed))
      r.zadd("dead", Time.now.to_f, elixir.call("11370896902411882151", failed.merge("max_retry_count" => 1, "retry_count" => 2)))
    end
    both_show.call("enqueued" => 1, "scheduled" => 1, "retries" => 1, "dead" => 1, "queues" => { "default" => 1 })
    leads_to.call("/queues/default", "/queues/default", "22789705601213654278", "OkWorker")
    { "/retries" => "10554296763756345812", "/morgue" => "11370896902411882151" }.each do |page, jid|
      leads_to.call(bookmark.call(page, jid), page.sub("morgue", "dead"), jid, "OkWorker", "no good")
    end
  end

  check "a queue that only nodes of Elixir's Verk know is on verk's dashboard; Sidekiq Web lists none such" do
    redis do |r|
      r.sadd("verk_nodes", "1")
      r.psetex("verk:node:1", 60_000, "alive")
      r.sadd("verk:node:1:queues", "other")
      r.lpush("queue:other", elixir.call("40391210113648010819", "queue" => "other"))
      r.lpush("inprogress:other:1", elixir.call("2656135122864775751", "queue" => "other"))
    end
    queue = wait_until("the queue") { dashboard.json("queues").find { |found| found["queue"] == "other" } }
    assert_equal [1, 1], queue.values_at("waiting", "running"), "waiting, running"
    assert !web.json("/stats/queues").key?("other"), "Sidekiq Web lists it"
    leads_to.call("/nodes", "/nodes", "Elixir")
  end
end
